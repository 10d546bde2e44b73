import MRPEngine

/// A stack of transformer blocks.
public struct TransformerConfiguration: Equatable, Sendable {
    /// Width D of a token, a multiple of 4 (positions) and of `heads`.
    public let width: Int
    public let depth: Int
    public let heads: Int
    /// Width of the hidden layer of each block's MLP (4 D in the usual networks).
    public let hidden: Int

    public static let maximumWidth = 65_536
    public static let maximumDepth = 1_024

    public init(width: Int, depth: Int, heads: Int, hidden: Int? = nil, role: String = "encoder") throws {
        guard width > 0, width <= Self.maximumWidth, width % 4 == 0 else {
            throw MRPError(.argument, "\(role) width \(width) must be a multiple of 4 in 4 ... \(Self.maximumWidth)")
        }
        guard depth >= 1, depth <= Self.maximumDepth else {
            throw MRPError(.argument, "\(role) depth \(depth) is outside 1 ... \(Self.maximumDepth)")
        }
        guard heads >= 1, width % heads == 0 else {
            throw MRPError(.argument, "\(role) width \(width) is not a multiple of its \(heads) heads")
        }
        let hidden = hidden ?? 4 * width
        guard hidden >= 1, hidden <= 16 * Self.maximumWidth else {
            throw MRPError(.argument, "\(role) mlp width \(hidden) is outside 1 ... \(16 * Self.maximumWidth)")
        }
        self.width = width
        self.depth = depth
        self.heads = heads
        self.hidden = hidden
    }
}
