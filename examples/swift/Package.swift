// swift-tools-version: 6.0
import PackageDescription

let package = Package(
    name: "pretrain",
    dependencies: [.package(name: "mrp", path: "../..")],
    targets: [
        .executableTarget(
            name: "pretrain", dependencies: [.product(name: "MRPModules", package: "mrp")], swiftSettings: [.swiftLanguageMode(.v5)])
    ]
)
