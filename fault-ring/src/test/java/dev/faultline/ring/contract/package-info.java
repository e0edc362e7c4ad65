/**
 * What a source of faults, a queue with an engine, and a handler promise, as tests for one's own: extend {@link
 * dev.faultline.ring.contract.ConsumerContract}, {@link dev.faultline.ring.contract.EngineContract} or {@link
 * dev.faultline.ring.contract.HandlerContract}, which use nothing but exported types.
 *
 * <p>Published as {@code dev.faultline:fault-ring} with the classifier {@code contract}. A classifier carries no dependencies:
 * who runs the suites brings {@code org.junit.jupiter:junit-jupiter} 5.13 himself.
 */
@NullMarked
package dev.faultline.ring.contract;

import org.jspecify.annotations.NullMarked;
