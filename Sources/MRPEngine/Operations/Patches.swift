import CMRPKernels

/// Patches of images as rows. Inputs: images [B, C, H, W], ids [B, K] or [K]? (nil: all L in order). Output: [B, K, p^2 C].
///
/// A row is ordered (channel, row, column) with `.channelsFirst`, as a convolution's weight expects, and (row, column, channel)
/// with `.channelsLast`, as the target of He et al. 2021 (`patchify`) is.
public struct ExtractPatches: Operation {
    public enum Order: Sendable { case channelsFirst, channelsLast }

    let geometry: PatchGeometry
    let order: Order

    public init(_ geometry: PatchGeometry, order: Order) {
        self.geometry = geometry
        self.order = order
    }

    public var name: String { "extract patches" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let images = inputs[0], images.shape.count == 4,
            Array(images.shape.dropFirst()) == geometry.imageShape
        else { throw shapeError(name, "images must be [batch] + \(geometry.imageShape)") }
        return [TensorType([images.shape[0], inputs[1]?.width ?? geometry.count, geometry.patchValues])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return node.gradients(try graph.apply(ScatterPatches(geometry, order: order), [gradient, node.inputs[1]]))
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        patchKernel(
            call, geometry, order, images: call.input(0), patches: call.outputs[0], rows: call.outputTypes[0].shape,
            run: call.kernels.extract_patches)
    }
}

/// The reverse of `ExtractPatches` and its gradient: images of zeros to which the patches are added.
/// Inputs: patches [B, K, p^2 C], ids?. Output: [B, C, H, W].
public struct ScatterPatches: Operation {
    let geometry: PatchGeometry
    let order: ExtractPatches.Order

    public init(_ geometry: PatchGeometry, order: ExtractPatches.Order) {
        self.geometry = geometry
        self.order = order
    }

    public var name: String { "scatter patches" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let patches = inputs.first ?? nil, patches.shape.count == 3, patches.width == geometry.patchValues else {
            throw shapeError(name, "patches must be [batch, count, \(geometry.patchValues)]")
        }
        return [TensorType([patches.shape[0]] + geometry.imageShape)]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return node.gradients(try graph.apply(ExtractPatches(geometry, order: order), [gradient, node.inputs[1]]))
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        patchKernel(
            call, geometry, order, images: call.outputs[0], patches: call.input(0), rows: call.type(0).shape,
            run: call.kernels.scatter_patches)
    }
}

private func patchKernel(
    _ call: KernelCall, _ geometry: PatchGeometry, _ order: ExtractPatches.Order, images: UnsafeMutableRawPointer?,
    patches: UnsafeMutableRawPointer?, rows: [Int], run: @escaping @convention(c) (OpaquePointer?, UnsafePointer<mk_patches>?) -> Void
) -> Kernel {
    let problem = mk_patches(
        batch: Int64(rows[0]), channels: Int64(geometry.channels), height: Int64(geometry.height), width: Int64(geometry.width),
        patch_height: Int64(geometry.patchHeight), patch_width: Int64(geometry.patchWidth),
        channels_last: order == .channelsLast ? 1 : 0, rows_out: Int64(rows[1]), ids: call.indices(1),
        ids_stride: call.indexStride(1), images: images, patches: patches)
    let pool = call.pool
    return Kernel { withUnsafePointer(to: problem) { run(pool, $0) } }
}

extension PatchGeometry {
    /// The images cut along their axes: [B, C, grid height, patch height, grid width, patch width]; and the order of these in patches.
    fileprivate func cut(batch: Int, _ order: ExtractPatches.Order) -> (shape: [Int], order: [Int]) {
        (
            [batch, channels, gridHeight, patchHeight, gridWidth, patchWidth],
            order == .channelsFirst ? [0, 2, 4, 1, 3, 5] : [0, 2, 4, 3, 5, 1]
        )
    }
}

extension ExtractPatches {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let images = try inputs.at(0)
        let (shape, axes) = geometry.cut(batch: images.shape[0], order)
        let patches = try images.reshape(shape).transpose(axes).reshape([shape[0], geometry.count, geometry.patchValues])
        return [try inputs.optional(1).map { try patches.gatheredRows($0) } ?? patches]
    }
}

extension ScatterPatches {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let patches = try inputs.at(0)
        let (shape, axes) = geometry.cut(batch: patches.shape[0], order)
        let ids = try GatherTokens.ids(inputs.optional(1), program, count: patches.shape[1], of: geometry.count)
        let all = try ids.map { try patches.scatteredRows($0, count: geometry.count) } ?? patches
        let back = shape.indices.map { axis in axes.firstIndex(of: axis) ?? axis }
        return try [all.reshape(axes.map { shape[$0] }).transpose(back).reshape([shape[0]] + geometry.imageShape)]
    }
}
