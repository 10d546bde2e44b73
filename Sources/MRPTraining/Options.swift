import Glibc
import MRPEngine
import MRPModels
import MRPOptions

/// Networks and computation as the options describe them.
extension Options {
    public var seed: UInt64 { UInt64(self[RunOptions.seed]) }

    public var threads: Int {
        self[RunOptions.threads] ?? min(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1), Compute.maximumThreads)
    }

    /// A compute context as the options describe it.
    public func compute() throws -> Compute {
        try Compute(
            threads: threads, instructions: self[RunOptions.instructions], convolvesDirectly: self[RunOptions.convolutions] == .direct)
    }

    /// The backend that the options describe.
    public func backend() throws -> any Backend { try CPUBackend(compute()) }

    /// The encoder that the options describe.
    public func encoder() throws -> any ImageEncoder {
        let name = self[NetworkOptions.encoder]
        let (channels, width) = (self[NetworkOptions.channels], self[NetworkOptions.width])
        let (imageHeight, imageWidth) = (self[NetworkOptions.imageHeight], self[NetworkOptions.imageWidth])
        if Encoders.convolutionalNames.contains(name) {
            let stem = self[NetworkOptions.stem] ?? (min(imageHeight, imageWidth) < 64 ? .cifar : .imagenet)
            return try Encoders.convolutional(
                name, stem: stem, width: width, channels: channels, imageHeight: imageHeight, imageWidth: imageWidth,
                cellSize: self[NetworkOptions.cellSize])
        }
        let geometry = try PatchGeometry(
            channels: channels, height: imageHeight, width: imageWidth, patchHeight: self[NetworkOptions.patchHeight],
            patchWidth: self[NetworkOptions.patchWidth])
        let size = Encoders.sizes.first { $0.name == name } ?? Encoders.sizes[0]
        let transformer = try TransformerConfiguration(
            width: width ?? size.width, depth: self[NetworkOptions.depth] ?? size.depth, heads: self[NetworkOptions.heads] ?? size.heads,
            hidden: mlpWidth(width ?? size.width))
        return VisionTransformer(geometry: geometry, transformer: transformer, epsilon: self[NetworkOptions.layerNormEps])
    }
}
