import MRPEngine
import MRPModels

/// What every exported network begins with: its images, and its weights.
extension OnnxGraph {
    /// The input `images` [batch, channels, height, width], standardised as the model was trained.
    mutating func standardizedImages(_ model: Model) throws -> String {
        let geometry = model.encoder.geometry
        let images = input("images", geometry.imageShape)
        guard let normalization = model.normalization else { return images }
        let shape = [1, geometry.channels, 1, 1]
        let mean = try constant("mean", normalization.mean.map { Float($0) }, shape: shape)
        let std = try constant("std", normalization.std.map { Float($0) }, shape: shape)
        return apply("Div", [apply("Sub", [images, mean]), std])
    }

    func stored(_ name: String, _ model: Model) throws -> Tensor {
        guard let tensor = model.parameters[name] else { throw MRPError(.state, "the model has no weight named '\(name)'") }
        return tensor
    }

    mutating func weight(_ name: String, _ shape: [Int], of model: Model) throws -> String {
        let tensor = try stored(name, model)
        return constant(name, shape, UnsafeRawBufferPointer(start: tensor.memory, count: tensor.bytes), keeping: tensor)
    }
}
