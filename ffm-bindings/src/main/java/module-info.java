/** Memory regions, ordered access to shared words, and the few Linux calls and kernel structures that are used. */
module dev.faultline.ffm {
    requires static com.google.errorprone.annotations;
    requires static org.jspecify;

    exports dev.faultline.ffm;
}
