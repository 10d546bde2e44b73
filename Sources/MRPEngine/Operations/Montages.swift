import CMRPKernels

/// Montages of `grid` x `grid` images each: every image is made `grid` times smaller by the mean of `grid` x `grid` neighbours (area averaging,
/// torch's avg_pool2d), and tile t, row by row, is image `sources`[t].
///
/// Inputs: images [N, C, H, W], H and W multiples of the grid; sources [count grid^2] int32 in 0 ..< N. Output: [count, C, H, W]. No gradient:
/// it makes inputs.
public struct MontageImages: Operation {
    let grid: Int

    public init(grid: Int) { self.grid = grid }

    public var name: String { "montage" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let images = inputs[0], images.shape.count == 4, let sources = inputs[1], sources.element == .int32,
            grid >= 1, images.shape[2] % grid == 0, images.shape[3] % grid == 0, sources.count % (grid * grid) == 0
        else { throw shapeError(name, "takes images [N, C, H, W] of whole tiles and the image of each tile, \(grid) x \(grid) of them") }
        return [TensorType([sources.count / (grid * grid)] + images.shape.dropFirst())]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let shape = call.outputTypes[0].shape.map(Int64.init)
        let (pool, run, grid, images, out) = (call.pool, call.kernels.montage, Int64(self.grid), call.input(0), call.outputs[0])
        let sources = call.indices(1)
        return Kernel { run(pool, shape[0], grid, shape[1], shape[2], shape[3], images, sources, out) }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (images, sources) = (try inputs.at(0), try inputs.at(1))
        let (channels, height, width) = (images.shape[1], images.shape[2], images.shape[3])
        let (rows, columns, count) = (height / grid, width / grid, sources.type.count / (grid * grid))
        let small = try images.reshape([images.shape[0], channels, rows, grid, columns, grid]).mean([3, 5])
        let table = try small.reshape([images.shape[0], channels * rows * columns])
        let tiles = try program.apply(.gather(dimension: 0), [table, sources]).reshape([count, grid, grid, channels, rows, columns])
        return [try tiles.transpose([0, 3, 1, 4, 2, 5]).reshape([count, channels, height, width])]
    }
}
