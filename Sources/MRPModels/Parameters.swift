import MRPEngine

/// Initial values of a parameter.
public enum Initializer: Equatable, Sendable {
    case zeros
    case ones
    case constant(Double)
    /// U(-b, b) with b = sqrt(6 / (fan in + fan out)) of a matrix [out, in] (Glorot & Bengio 2010).
    case xavierUniform
    /// U(-bound, bound).
    case uniform(bound: Double)
    /// N(0, std^2).
    case normal(std: Double)
    /// Fixed 2-D sine-cosine positions with a zero row for the class token.
    case sinCosPositions(gridHeight: Int, gridWidth: Int)
    /// Rows of this length in random directions.
    case directions(length: Double)
    /// The numbers that another weight of the same shape has at that moment (a teacher).
    case copy(of: String)
}

/// The part that a parameter plays: weight decay, moving averages, spelling and adaptation go by it, never by the name.
public enum ParameterRole: Equatable, Sendable {
    /// Matrix or kernel.
    case weight
    case bias
    /// Scale or shift of a norm.
    case norm
    /// Learned token: class token, mask token.
    case token
    /// Table of positions, learned or fixed.
    case position
    /// Running statistic of a batch norm, updated but not trained.
    case statistic
    /// Measured on the data before the first step, not trained: a codebook.
    case measured
}

/// A named weight of a network: its shape in our graphs and the shape under which the field stores it.
public struct ParameterSpecification: Equatable, Sendable {
    /// The name that facebookresearch/mae and timm use, for example `blocks.0.attn.qkv.weight`.
    public let name: String
    public let shape: [Int]
    /// For example [D, C, p, p] for a patch weight that our graph uses as [D, p^2 C]; same elements in the same order.
    public let storedShape: [Int]
    public let initializer: Initializer
    public let role: ParameterRole
    public let isTrainable: Bool

    /// `isTrainable` nil: statistics and measured parameters are not trained, others are.
    public init(
        _ name: String, _ shape: [Int], _ initializer: Initializer, role: ParameterRole = .weight, storedShape: [Int]? = nil,
        isTrainable: Bool? = nil
    ) {
        self.name = name
        self.shape = shape
        self.storedShape = storedShape ?? shape
        self.initializer = initializer
        self.role = role
        self.isTrainable = isTrainable ?? (role != .statistic && role != .measured)
    }

    /// The exemption of facebookresearch/mae: biases and norms are not decayed.
    public var isDecayed: Bool { role != .bias && role != .norm }

    /// The same parameter under another initializer.
    public func initialized(by initializer: Initializer) -> ParameterSpecification {
        ParameterSpecification(name, shape, initializer, role: role, storedShape: storedShape, isTrainable: isTrainable)
    }
}

/// The weights of one network, in a fixed order.
public final class Parameters {
    public private(set) var specifications: [ParameterSpecification] = []
    public private(set) var tensors: [String: Tensor] = [:]

    public init() {}

    /// Which weights there are.
    public struct Contents {
        fileprivate let specifications: [ParameterSpecification]
        fileprivate let tensors: [String: Tensor]
    }

    public var contents: Contents {
        get { Contents(specifications: specifications, tensors: tensors) }
        set { (specifications, tensors) = (newValue.specifications, newValue.tensors) }
    }

    public subscript(name: String) -> Tensor? { tensors[name] }

    /// The number of weights, fixed ones included.
    public var count: Int { specifications.reduce(0) { $0 + $1.shape.reduce(1, *) } }

    public var bytes: Int { tensors.values.reduce(0) { $0 + $1.bytes } }

    /// Adds weights and fills them by their initialisers. A weight's numbers depend on the seed and on its name alone, so adding
    /// a decoder or a head never changes the encoder. Without a seed all are zero, for weights that will be read from a file.
    public func add(_ additions: [ParameterSpecification], seed: UInt64?) throws {
        var made: [(ParameterSpecification, Tensor)] = []
        var sources = tensors
        for specification in additions {
            let tensor = try Tensor(specification.shape)
            if let seed { try fill(tensor, specification, seed: seed, sources) }
            made.append((specification, tensor))
            sources[specification.name] = tensor
        }
        for (specification, tensor) in made {
            if tensors[specification.name] == nil { specifications.append(specification) }
            tensors[specification.name] = tensor
        }
    }

    /// Gives one weight the numbers of a fresh one.
    public func reset(_ specification: ParameterSpecification, seed: UInt64) throws {
        guard let tensor = tensors[specification.name] else { return }
        try fill(tensor, specification, seed: seed, tensors)
    }

    /// Removes every weight whose name is not kept.
    public func retain(where keeps: (String) -> Bool) {
        specifications.removeAll { !keeps($0.name) }
        tensors = tensors.filter { keeps($0.key) }
    }

    /// The same weights in another precision (a copy).
    public func copies(precision: Precision) throws -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for (name, tensor) in tensors {
            let copy = try Tensor(tensor.type, precision: precision)
            copy.copyElements(of: tensor)
            result[name] = copy
        }
        return result
    }

    /// `sources`: weights that may be copied.
    private func fill(
        _ tensor: Tensor, _ specification: ParameterSpecification, seed: UInt64, _ sources: [String: Tensor]
    ) throws {
        let values = tensor.float32
        let stream = RandomStream(seed: seed ^ Self.hash(specification.name), .initialization)
        switch specification.initializer {
        case .zeros: break
        case .ones: values.update(repeating: 1)
        case .constant(let value): values.update(repeating: Float(value))
        case .xavierUniform:
            let (fanOut, fanIn) = (tensor.shape[0], tensor.count / max(tensor.shape[0], 1))
            try Self.fillUniform(values, bound: (6 / Double(fanIn + fanOut)).squareRoot(), stream)
        case .uniform(let bound): try Self.fillUniform(values, bound: bound, stream)
        case .normal(let std):
            try Self.pieces(of: values) { piece, first in
                stream.fillNormal(piece, first: first)
                for index in piece.indices { piece[index] *= Float(std) }
            }
        case .directions(let length):
            try Self.pieces(of: values) { piece, first in stream.fillNormal(piece, first: first) }
            for row in 0..<tensor.type.rows {
                let row = UnsafeMutableBufferPointer(rebasing: values[row * tensor.type.width..<(row + 1) * tensor.type.width])
                let norm = max(row.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot(), 1e-12)
                for index in row.indices { row[index] = Float(Double(row[index]) * length / norm) }
            }
        case .sinCosPositions(let gridHeight, let gridWidth):
            sinCosPositions(into: values, width: tensor.shape[1], gridHeight: gridHeight, gridWidth: gridWidth)
        case .copy(let source): sources[source].map { tensor.copyElements(of: $0) }
        }
    }

    private static func fillUniform(_ values: UnsafeMutableBufferPointer<Float>, bound: Double, _ stream: RandomStream) throws {
        try pieces(of: values) { piece, first in
            stream.fillUniform(piece, first: first)
            for index in piece.indices { piece[index] = Float((2 * Double(piece[index]) - 1) * bound) }
        }
    }

    /// Large weights take long: they are filled piece by piece, so that the caller can stop.
    private static func pieces(
        of values: UnsafeMutableBufferPointer<Float>, _ body: (_ piece: UnsafeMutableBufferPointer<Float>, _ first: Int) -> Void
    ) throws {
        for first in stride(from: 0, to: values.count, by: 1 << 20) {
            try Interruption.check()
            body(UnsafeMutableBufferPointer(rebasing: values[first..<min(first + (1 << 20), values.count)]), first)
        }
    }

    /// FNV-1a, 64 bits.
    private static func hash(_ name: String) -> UInt64 {
        name.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }
}
