// swift-tools-version: 6.0
import PackageDescription

let root = Context.packageDirectory

// Kernels are optimised in debug builds too: the tests train networks.
let kernelFlags: [CSetting] = [
    .unsafeFlags(["-O3", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=fast"])
]

// No fused multiply-add: pixels are the same bits on every machine.
let imageFlags: [CSetting] = [
    .unsafeFlags(["-O3", "-fvisibility=hidden", "-fno-math-errno", "-ffp-contract=off"])
]

// The compiler sees the handle types as complete, so that the header generator prints `mrp_model *`, not `void *`.
let boundaryFlags: [SwiftSetting] = [
    .swiftLanguageMode(.v6), .unsafeFlags(["-Xcc", "-DMRP_SWIFT_IMPORT"]),
]
let swiftFlags: [SwiftSetting] = [.swiftLanguageMode(.v6)]
// For @testable in a release build. `make test` leaves it out elsewhere, so that the tests run the library's own optimised modules.
let testableFlags = swiftFlags + [.unsafeFlags(["-enable-testing"])]

let package = Package(
    name: "mrp",
    products: [
        .library(name: "mrp", type: .dynamic, targets: ["MRP", "MRPLink"]),
        // The modules for Swift programs; examples/swift uses them.
        .library(
            name: "MRPModules", targets: ["MRPEngine", "MRPOptions", "MRPModels", "MRPObjectives", "MRPData", "MRPTraining", "MRPLab"]),
    ],
    targets: [
        .target(name: "CMRPKernels", cSettings: kernelFlags, linkerSettings: [.linkedLibrary("m")]),
        .target(
            name: "CMRPImage", dependencies: ["CMRPKernels"], cSettings: imageFlags,
            linkerSettings: [.linkedLibrary("jpeg"), .linkedLibrary("png16")]),
        .target(name: "CMRPPoints", dependencies: ["CMRPKernels", "CMRPImage"], cSettings: imageFlags),
        .target(name: "CMRPDevice", cSettings: [.unsafeFlags(["-O2", "-fvisibility=hidden"])]),
        .target(name: "CMRPTypes"),
        .target(name: "MRPEngine", dependencies: ["CMRPKernels"], swiftSettings: [.swiftLanguageMode(.v6)]),
        .target(name: "MRPDevice", dependencies: ["MRPEngine", "CMRPDevice", "CMRPKernels"], swiftSettings: swiftFlags),
        .target(name: "MRPOptions", dependencies: ["MRPEngine"], swiftSettings: swiftFlags),
        .target(name: "MRPModels", dependencies: ["MRPEngine", "MRPOptions"], swiftSettings: swiftFlags),
        .target(name: "MRPObjectives", dependencies: ["MRPModels", "MRPData", "MRPOptions"], swiftSettings: swiftFlags),
        .target(
            name: "MRPData", dependencies: ["MRPEngine", "MRPOptions", "CMRPImage", "CMRPPoints", "CMRPKernels"],
            swiftSettings: [.swiftLanguageMode(.v6)]
        ),
        .target(
            name: "MRPTraining",
            dependencies: ["MRPOptions", "MRPObjectives", "MRPData", "MRPDevice", "CMRPImage", "CMRPPoints", "CMRPKernels"],
            swiftSettings: swiftFlags),
        .target(name: "MRPLab", dependencies: ["MRPEngine", "MRPOptions", "CMRPKernels"], swiftSettings: testableFlags),
        .target(
            name: "MRP", dependencies: ["MRPOptions", "MRPTraining", "MRPLab", "MRPDevice", "CMRPKernels", "CMRPTypes"],
            swiftSettings: boundaryFlags),
        // Holds the flags of the shared library's link step. No test depends on it, so tests link as usual.
        .target(
            name: "MRPLink",
            linkerSettings: [
                .unsafeFlags(
                    [
                        "-static-stdlib", "-use-ld=lld", "-L\(root)/packaging/staticlibs",
                        "-Xclang-linker", "-static-libgcc",
                        "-Xlinker", "-soname=libmrp.so.0",
                        "-Xlinker", "--version-script=\(root)/packaging/mrp.map",
                        "-Xlinker", "--exclude-libs=ALL", "-Xlinker", "--gc-sections",
                        "-Xlinker", "-z", "-Xlinker", "nodelete",
                    ], .when(platforms: [.linux], configuration: .release))
            ]),
        .testTarget(
            name: "EngineTests", dependencies: ["MRPEngine", "MRPDevice", "CMRPKernels", "TestSupport"], swiftSettings: swiftFlags),
        .target(name: "TestSupport", dependencies: ["MRPEngine"], path: "Tests/TestSupport", swiftSettings: swiftFlags),
        .testTarget(
            name: "DataTests", dependencies: ["MRPData", "MRPEngine", "CMRPImage", "CMRPKernels", "TestSupport"], swiftSettings: swiftFlags),
        .testTarget(name: "LabTests", dependencies: ["MRPLab", "MRPEngine", "MRPOptions", "CMRPKernels"], swiftSettings: swiftFlags),
        // Adds an objective, an encoder, a head, a loss and a sampler from outside, through public declarations.
        .testTarget(name: "ExtensionTests", dependencies: ["MRPTraining", "TestSupport"], swiftSettings: swiftFlags),
        .testTarget(name: "TrainingTests", dependencies: ["MRPTraining", "MRPOptions", "TestSupport"], swiftSettings: swiftFlags),
    ]
)
