/** The example programs and the command line. */
module dev.faultline.examples {
    requires com.fasterxml.jackson.databind;
    requires dev.faultline.iommu;
    requires HdrHistogram;
    requires info.picocli;
    requires org.slf4j;
    requires static com.google.errorprone.annotations;
    requires static org.jspecify;
    requires java.management;
    requires jdk.management;

    opens dev.faultline.examples.cli to
            com.fasterxml.jackson.databind,
            info.picocli;
}
