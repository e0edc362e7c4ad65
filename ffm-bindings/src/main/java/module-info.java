/** Memory regions, ordered access to shared words, io_uring, and the Linux calls and kernel structures that are used. */
module dev.faultline.ffm {
    requires static transitive com.google.errorprone.annotations;
    requires static org.jspecify;

    exports dev.faultline.ffm;
}
