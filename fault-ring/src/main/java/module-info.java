/** The fault queue: reads as credit, groups, cookies, deadlines and accounting. */
module dev.faultline.ring {
    requires transitive dev.faultline.ffm;
    requires org.jctools.core.jdk11;
    requires org.slf4j;
    requires static transitive com.google.errorprone.annotations;
    requires static transitive org.jspecify;

    exports dev.faultline.ring;
}
