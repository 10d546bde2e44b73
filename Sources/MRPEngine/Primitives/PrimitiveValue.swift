/// A value of a program under construction, with numpy's notation: `try (x - mean) * scale + shift`.
///
/// Shapes are aligned at their last dimensions and repeated as in numpy. A real scalar takes the element of the tensor that it meets, so a
/// learning rate in f64 may multiply a tensor in f32; of two scalars the wider element stays.
public struct PrimitiveValue {
    public let id: Int
    public let type: PrimitiveType
    let program: PrimitiveBuilder

    public var shape: [Int] { type.shape }
    public var element: PrimitiveElement { type.element }
    public var rank: Int { shape.count }
    /// The last dimension (1 of a scalar), and all others multiplied.
    public var width: Int { shape.last ?? 1 }
    public var rows: Int { shape.dropLast().reduce(1, *) }
    /// All dimensions but the last.
    public var leading: [Int] { Array(shape.indices.dropLast()) }
    public var last: Int { rank - 1 }

    // MARK: Elementwise

    public func unary(_ function: Primitive.Unary) throws -> PrimitiveValue { try program.apply(.unary(function), [self]) }
    public func exp() throws -> PrimitiveValue { try unary(.exponential) }
    public func log() throws -> PrimitiveValue { try unary(.log) }
    public func sqrt() throws -> PrimitiveValue { try unary(.sqrt) }
    public func rsqrt() throws -> PrimitiveValue { try unary(.rsqrt) }
    public func erf() throws -> PrimitiveValue { try unary(.erf) }
    public func abs() throws -> PrimitiveValue { try unary(.abs) }
    public func sign() throws -> PrimitiveValue { try unary(.sign) }
    public func squared() throws -> PrimitiveValue { try self * self }

    public func converted(to element: PrimitiveElement) throws -> PrimitiveValue {
        element == self.element ? self : try program.apply(.convert(element), [self])
    }

    private func number(_ value: Double) throws -> PrimitiveValue { try program.constant(value, shape, element) }

    /// The shape of a and b together, as numpy has it.
    private static func common(_ a: [Int], _ b: [Int]) -> [Int] {
        guard a.count >= b.count else { return common(b, a) }
        let padded = [Int](repeating: 1, count: a.count - b.count) + b
        return zip(a, padded).map { $0 == 1 ? $1 : $0 }
    }

    private func matched(to other: PrimitiveValue) throws -> PrimitiveValue {
        let takesElement = rank == 0 && (other.rank > 0 || other.element == .f64) && element.isReal && other.element.isReal
        return takesElement ? try converted(to: other.element) : self
    }

    private static func aligned(_ a: PrimitiveValue, _ b: PrimitiveValue) throws -> [PrimitiveValue] {
        let shape = common(a.shape, b.shape)
        return try [a.matched(to: b), b.matched(to: a)].map { try $0.broadcast(to: shape) }
    }

    public static func binary(_ function: Primitive.Binary, _ a: PrimitiveValue, _ b: PrimitiveValue) throws -> PrimitiveValue {
        try a.program.apply(.binary(function), aligned(a, b))
    }

    static func compare(_ comparison: Primitive.Comparison, _ a: PrimitiveValue, _ b: PrimitiveValue) throws -> PrimitiveValue {
        try a.program.apply(.compare(comparison), aligned(a, b))
    }

    public static func + (a: PrimitiveValue, b: PrimitiveValue) throws -> PrimitiveValue { try binary(.add, a, b) }
    public static func - (a: PrimitiveValue, b: PrimitiveValue) throws -> PrimitiveValue { try binary(.subtract, a, b) }
    public static func * (a: PrimitiveValue, b: PrimitiveValue) throws -> PrimitiveValue { try binary(.multiply, a, b) }
    public static func / (a: PrimitiveValue, b: PrimitiveValue) throws -> PrimitiveValue { try binary(.divide, a, b) }
    public static func + (a: PrimitiveValue, b: Double) throws -> PrimitiveValue { try a + a.number(b) }
    public static func - (a: PrimitiveValue, b: Double) throws -> PrimitiveValue { try a - a.number(b) }
    public static func * (a: PrimitiveValue, b: Double) throws -> PrimitiveValue { try a * a.number(b) }
    public static func / (a: PrimitiveValue, b: Double) throws -> PrimitiveValue { try a / a.number(b) }
    public static func - (a: Double, b: PrimitiveValue) throws -> PrimitiveValue { try b.number(a) - b }
    public static func * (a: Double, b: PrimitiveValue) throws -> PrimitiveValue { try b.number(a) * b }

    public static func .== (a: PrimitiveValue, b: PrimitiveValue) throws -> PrimitiveValue { try compare(.equal, a, b) }
    public static func .!= (a: PrimitiveValue, b: PrimitiveValue) throws -> PrimitiveValue { try compare(.notEqual, a, b) }
    public static func .< (a: PrimitiveValue, b: PrimitiveValue) throws -> PrimitiveValue { try compare(.less, a, b) }
    public static func .> (a: PrimitiveValue, b: PrimitiveValue) throws -> PrimitiveValue { try compare(.greater, a, b) }
    public static func .== (a: PrimitiveValue, b: Double) throws -> PrimitiveValue { try compare(.equal, a, a.number(b)) }
    public static func .< (a: PrimitiveValue, b: Double) throws -> PrimitiveValue { try compare(.less, a, a.number(b)) }
    public static func .> (a: PrimitiveValue, b: Double) throws -> PrimitiveValue { try compare(.greater, a, a.number(b)) }
    public static func .>= (a: PrimitiveValue, b: Double) throws -> PrimitiveValue { try compare(.greaterOrEqual, a, a.number(b)) }
    public static func .& (a: PrimitiveValue, b: PrimitiveValue) throws -> PrimitiveValue { try binary(.and, a, b) }
    public static func .| (a: PrimitiveValue, b: PrimitiveValue) throws -> PrimitiveValue { try binary(.or, a, b) }

    public func clamped(_ low: Double, _ high: Double) throws -> PrimitiveValue {
        try Self.binary(.minimum, Self.binary(.maximum, self, number(low)), number(high))
    }

    /// numpy.where(self, a, b), of the shape that a, b and the mask have together.
    public func choose(_ a: PrimitiveValue, _ b: PrimitiveValue) throws -> PrimitiveValue {
        let shape = Self.common(self.shape, Self.common(a.shape, b.shape))
        return try program.apply(.select, [self, a.matched(to: b), b.matched(to: a)].map { try $0.broadcast(to: shape) })
    }

    public func choose(_ a: PrimitiveValue, _ b: Double) throws -> PrimitiveValue { try choose(a, a.number(b)) }

    // MARK: Shapes

    public func reshape(_ shape: [Int]) throws -> PrimitiveValue {
        shape == self.shape ? self : try program.apply(.reshape(shape), [self])
    }

    /// [rows, width]
    public func matrix() throws -> PrimitiveValue { try reshape([rows, width]) }

    public func transpose(_ order: [Int]) throws -> PrimitiveValue { try program.apply(.transpose(order), [self]) }

    public func reverse(_ axes: [Int]) throws -> PrimitiveValue { try program.apply(.reverse(axes), [self]) }

    public func broadcast(to shape: [Int]) throws -> PrimitiveValue {
        guard shape != self.shape else { return self }
        let first = shape.count - rank
        return try program.apply(.broadcastInDim(shape, dimensions: Array(first..<Swift.max(first, shape.count))), [self])
    }

    public func slice(_ axis: Int, _ range: Range<Int>, stride: Int = 1) throws -> PrimitiveValue {
        guard range != 0..<shape[axis] || stride != 1 else { return self }
        var (ranges, strides) = (shape.map { 0..<$0 }, shape.map { _ in 1 })
        (ranges[axis], strides[axis]) = (range, stride)
        return try program.apply(.slice(ranges, strides: strides), [self])
    }

    /// Edges by axis; the others stay.
    public func pad(_ edges: [Int: PrimitivePadding], _ fill: Double = 0) throws -> PrimitiveValue {
        let all = shape.indices.map { edges[$0] ?? PrimitivePadding() }
        return try program.apply(.pad(all), [self, program.constant(fill, [], element)])
    }

    public static func concatenate(_ values: [PrimitiveValue], _ axis: Int) throws -> PrimitiveValue {
        guard let first = values.first else { throw MRPError(.internalError, "nothing to concatenate") }
        return try first.program.apply(.concatenate(dimension: axis), values)
    }

    // MARK: Sums and products

    /// Reduced dimensions vanish, or stay with size 1 when `keep`.
    public func reduce(_ reduction: Primitive.Reduction, _ axes: [Int], keep: Bool = false) throws -> PrimitiveValue {
        let result = try program.apply(.reduce(reduction, dimensions: axes), [self])
        return keep ? try result.reshape(shape.enumerated().map { axes.contains($0) ? 1 : $1 }) : result
    }

    public func sum(_ axes: [Int], keep: Bool = false) throws -> PrimitiveValue { try reduce(.sum, axes, keep: keep) }
    public func max(_ axes: [Int], keep: Bool = false) throws -> PrimitiveValue { try reduce(.maximum, axes, keep: keep) }

    public func dot(_ other: PrimitiveValue, batch: Int = 0, contracting: (Int, Int)) throws -> PrimitiveValue {
        try program.apply(.dotGeneral(batch: batch, contracting: (contracting.0, contracting.1)), [self, other])
    }
}

extension Array where Element == PrimitiveValue? {
    /// An input that must be there.
    public func at(_ index: Int) throws -> PrimitiveValue {
        guard let value = optional(index) else { throw MRPError(.internalError, "input \(index) is absent") }
        return value
    }

    public func optional(_ index: Int) -> PrimitiveValue? { index < count ? self[index] : nil }
}
