import CMRPKernels

/// Windows of a convolution or a pooling along one axis.
public struct Window: Equatable, Sendable {
    public let size: Int
    public let kernel: Int
    public let stride: Int
    public let padding: Int
    public let dilation: Int

    /// Positions of the output: (size + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded down.
    public let outputSize: Int

    /// Throws when a number is out of range or when the kernel does not fit the padded image.
    public init(_ size: Int, kernel: Int, stride: Int = 1, padding: Int = 0, dilation: Int = 1) throws {
        let limit = 1 << 20
        guard size >= 1, size <= limit, kernel >= 1, kernel <= limit, stride >= 1, stride <= limit, padding >= 0, padding <= limit,
            dilation >= 1, dilation <= limit
        else {
            throw MRPError(
                .argument,
                "window of size \(size), kernel \(kernel), stride \(stride), padding \(padding), dilation \(dilation) is impossible")
        }
        let reach = dilation * (kernel - 1) + 1
        guard reach <= size + 2 * padding else {
            throw MRPError(.argument, "a kernel that reaches over \(reach) pixels does not fit an image of \(size) + 2 x \(padding)")
        }
        self.size = size
        self.kernel = kernel
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        outputSize = (size + 2 * padding - reach) / stride + 1
    }

    var problem: mk_window {
        mk_window(
            in: Int64(size), out: Int64(outputSize), kernel: Int64(kernel), stride: Int64(stride), padding: Int64(padding),
            dilation: Int64(dilation))
    }
}
