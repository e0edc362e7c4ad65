package dev.faultline.arch;

import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.classes;
import static com.tngtech.archunit.lang.syntax.ArchRuleDefinition.noClasses;
import static com.tngtech.archunit.library.Architectures.layeredArchitecture;

import com.tngtech.archunit.core.importer.ImportOption;
import com.tngtech.archunit.junit.AnalyzeClasses;
import com.tngtech.archunit.junit.ArchTest;
import com.tngtech.archunit.lang.ArchRule;

/**
 * The arrows between the modules and the rules of the house, held in every module: this one file is a test source of
 * each, and sees what that module and those below it are made of.
 */
@AnalyzeClasses(packages = "dev.faultline", importOptions = ImportOption.DoNotIncludeTests.class)
final class ArchitectureTest {

    private static final String FFM = "dev.faultline.ffm..";
    private static final String RING = "dev.faultline.ring..";
    private static final String IOMMU = "dev.faultline.iommu..";
    private static final String EXAMPLES = "dev.faultline.examples..";
    private static final String BENCH = "dev.faultline.bench..";
    private static final String STRESS = "dev.faultline.stress..";

    @ArchTest
    static final ArchRule arrowsGoOneWay = layeredArchitecture()
            .consideringOnlyDependenciesInLayers()
            .withOptionalLayers(true)
            .layer("ffm")
            .definedBy(FFM)
            .layer("ring")
            .definedBy(RING)
            .layer("iommu")
            .definedBy(IOMMU)
            .layer("examples")
            .definedBy(EXAMPLES)
            .layer("bench")
            .definedBy(BENCH)
            .layer("stress")
            .definedBy(STRESS)
            .whereLayer("ring")
            .mayOnlyAccessLayers("ffm")
            .whereLayer("ffm")
            .mayNotAccessAnyLayer()
            .whereLayer("iommu")
            .mayOnlyAccessLayers("ffm", "ring")
            .whereLayer("examples")
            .mayOnlyAccessLayers("ffm", "ring", "iommu")
            .whereLayer("bench")
            .mayOnlyAccessLayers("ffm", "ring", "iommu", "examples")
            .whereLayer("stress")
            .mayOnlyAccessLayers("ffm", "ring", "iommu");

    /** An insider of one module is nobody's business in another; stress and bench look inside on purpose. */
    @ArchTest
    static final ArchRule insidesStayInside = noClasses()
            .that()
            .resideInAnyPackage(IOMMU, EXAMPLES)
            .should()
            .dependOnClassesThat()
            .resideInAPackage("dev.faultline.ring.internal..")
            .allowEmptyShould(true);

    /** One file says which access modes there are; everywhere else a shared word has a name and an order. */
    @ArchTest
    static final ArchRule orderedAccessHasOneHome = noClasses()
            .that()
            .resideInAnyPackage(FFM, RING, IOMMU, EXAMPLES)
            .and()
            .doNotHaveFullyQualifiedName("dev.faultline.ffm.SharedWords")
            .should()
            .dependOnClassesThat()
            .haveFullyQualifiedName("java.lang.invoke.VarHandle")
            .allowEmptyShould(true);

    @ArchTest
    static final ArchRule nothingUnsafe = noClasses()
            .should()
            .dependOnClassesThat()
            .resideInAnyPackage("sun.misc..", "jdk.internal..")
            .allowEmptyShould(true);

    /** The hot path logs nothing. */
    @ArchTest
    static final ArchRule theRingDoesNotLog = noClasses()
            .that()
            .resideInAPackage("dev.faultline.ring.internal..")
            .should()
            .dependOnClassesThat()
            .resideInAPackage("org.slf4j..")
            .allowEmptyShould(true);

    /** Such a name says that the thing has none. */
    @ArchTest
    static final ArchRule namesSayWhatAThingIs = classes()
            .should()
            .haveNameNotMatching(".*(Impl|Manager|Helper|Util|Utils)")
            .allowEmptyShould(true);
}
