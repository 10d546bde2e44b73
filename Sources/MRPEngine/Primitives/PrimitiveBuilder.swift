/// Appends instructions and checks that their operands fit.
public final class PrimitiveBuilder {
    private(set) var types: [PrimitiveType] = []
    private(set) var instructions: [PrimitiveProgram.Instruction] = []
    private(set) var composites: [Int: (function: PrimitiveComposite, operands: [Int])] = [:]
    /// The operation whose rule is at work.
    var operation = ""

    /// Devices that run the program side by side, each on its share of the batch.
    let replicas: Int

    public init(replicas: Int = 1) { self.replicas = replicas }

    /// A value that comes from outside.
    func argument(_ type: PrimitiveType) -> PrimitiveValue {
        types.append(type)
        return PrimitiveValue(id: types.count - 1, type: type, program: self)
    }

    public func apply(_ primitive: Primitive, _ operands: [PrimitiveValue]) throws -> PrimitiveValue {
        guard let type = Self.resultType(primitive, operands.map(\.type)), type.shape.allSatisfy({ $0 >= 0 }) else {
            throw MRPError(.internalError, "\(operation): \(primitive) does not take \(operands.map { "\($0.type.element)\($0.shape)" })")
        }
        let result = argument(type)
        instructions.append(
            PrimitiveProgram.Instruction(primitive: primitive, operands: operands.map(\.id), result: result.id, operation: operation))
        return result
    }

    public func constant(_ number: Double, _ shape: [Int], _ element: PrimitiveElement) throws -> PrimitiveValue {
        try apply(.constant(number, PrimitiveType(shape, element)), [])
    }

    /// A value, said to be a function of others.
    func value(_ value: PrimitiveValue, is function: PrimitiveComposite, of operands: [PrimitiveValue]) -> PrimitiveValue {
        composites[value.id] = (function, operands.map(\.id))
        return value
    }

    /// The mean over all replicas.
    func meanOverReplicas(_ value: PrimitiveValue) throws -> PrimitiveValue {
        replicas == 1 ? value : try apply(.allReduce, [value]) / Double(replicas)
    }

    /// 0, 1 ... `count` - 1.
    public func iota(_ count: Int) throws -> PrimitiveValue { try apply(.iota(dimension: 0, PrimitiveType([count], .i32)), []) }

    /// The type of an instruction's result; nil when its operands do not fit.
    static func resultType(_ primitive: Primitive, _ operands: [PrimitiveType]) -> PrimitiveType? {
        switch primitive {
        case .constant(_, let type), .dense(_, let type): return operands.isEmpty ? type : nil
        case .iota(let dimension, let type): return operands.isEmpty && type.shape.indices ~= dimension ? type : nil
        case .concatenate(let dimension): return concatenation(operands, dimension)
        case .binary, .compare, .gather, .scatterAdd, .dotGeneral, .convolution, .pad:
            return operands.count == 2 ? resultType(primitive, operands[0], operands[1]) : nil
        case .select:
            let fits = operands.count == 3 && operands[0] == PrimitiveType(operands[1].shape, .i1) && operands[1] == operands[2]
            return fits ? operands[1] : nil
        default: return operands.count == 1 ? resultType(primitive, operands[0]) : nil
        }
    }

    private static func concatenation(_ operands: [PrimitiveType], _ dimension: Int) -> PrimitiveType? {
        guard var shape = operands.first?.shape, shape.indices ~= dimension else { return nil }
        shape[dimension] = 0
        for operand in operands {
            guard operand.element == operands[0].element, operand.shape.count == shape.count,
                shape.indices.allSatisfy({ $0 == dimension || operand.shape[$0] == shape[$0] })
            else { return nil }
            shape[dimension] += operand.shape[dimension]
        }
        return PrimitiveType(shape, operands[0].element)
    }

    private static func resultType(_ primitive: Primitive, _ x: PrimitiveType) -> PrimitiveType? {
        let axes = x.shape.indices
        switch primitive {
        case .convert(let element): return PrimitiveType(x.shape, element)
        case .unary(let function): return x.element.isReal ? PrimitiveType(x.shape, function == .isFinite ? .i1 : x.element) : nil
        case .reshape(let shape): return shape.reduce(1, *) == x.count ? PrimitiveType(shape, x.element) : nil
        case .transpose(let order): return order.sorted() == Array(axes) ? PrimitiveType(order.map { x.shape[$0] }, x.element) : nil
        case .broadcastInDim(let shape, let dimensions):
            let fits = dimensions.count == x.shape.count && zip(dimensions, dimensions.dropFirst()).allSatisfy(<)
            let sizesFit = fits && zip(dimensions, x.shape).allSatisfy { shape.indices ~= $0 && ($1 == 1 || $1 == shape[$0]) }
            return sizesFit ? PrimitiveType(shape, x.element) : nil
        case .slice(let ranges, let strides):
            let fits = ranges.count == x.shape.count && strides.count == x.shape.count && strides.allSatisfy { $0 >= 1 }
            guard fits, axes.allSatisfy({ ranges[$0].lowerBound >= 0 && ranges[$0].upperBound <= x.shape[$0] }) else { return nil }
            return PrimitiveType(axes.map { (ranges[$0].count + strides[$0] - 1) / strides[$0] }, x.element)
        case .allReduce: return x.element.isReal ? x : nil
        case .reverse(let dimensions): return dimensions.allSatisfy { axes ~= $0 } ? x : nil
        case .reduce(_, let dimensions):
            guard dimensions.allSatisfy({ axes ~= $0 }), x.element != .i1 else { return nil }
            return PrimitiveType(axes.filter { !dimensions.contains($0) }.map { x.shape[$0] }, x.element)
        case .reduceWindow(_, let rows, let columns):
            guard x.shape.count == 4, x.element.isReal else { return nil }
            return PrimitiveType(
                [x.shape[0], rows.outputSize(of: x.shape[1]), columns.outputSize(of: x.shape[2]), x.shape[3]], x.element)
        default: return nil
        }
    }

    private static func resultType(_ primitive: Primitive, _ x: PrimitiveType, _ y: PrimitiveType) -> PrimitiveType? {
        switch primitive {
        case .binary(let function): return x == y && (x.element == .i1) == (function == .and || function == .or) ? x : nil
        case .compare: return x == y ? PrimitiveType(x.shape, .i1) : nil
        case .pad(let edges):
            guard edges.count == x.shape.count, y == PrimitiveType([], x.element) else { return nil }
            return PrimitiveType(zip(edges, x.shape).map { $0.size(of: $1) }, x.element)
        case .gather(let dimension):
            guard x.shape.indices ~= dimension, y.element == .i32 else { return nil }
            return PrimitiveType(x.shape[..<dimension] + y.shape + x.shape[(dimension + 1)...], x.element)
        case .scatterAdd(let rows):
            guard x.shape.count == 2, y == PrimitiveType([x.shape[0]], .i32), x.element.isReal else { return nil }
            return PrimitiveType([rows, x.shape[1]], x.element)
        case .dotGeneral(let batch, let (left, right)):
            guard batch...x.shape.count ~= left, x.shape.indices ~= left, batch...y.shape.count ~= right, y.shape.indices ~= right,
                x.shape[left] == y.shape[right], x.shape[..<batch] == y.shape[..<batch], x.element == y.element, x.element.isReal
            else { return nil }
            func rest(_ type: PrimitiveType, _ contracted: Int) -> [Int] {
                (batch..<type.shape.count).filter { $0 != contracted }.map { type.shape[$0] }
            }
            return PrimitiveType(x.shape[..<batch] + rest(x, left) + rest(y, right), x.element)
        case .convolution(let rows, let columns, let groups):
            guard x.shape.count == 4, y.shape.count == 4, groups >= 1, x.shape[3] == y.shape[1] * groups, y.shape[0] % groups == 0,
                y.shape[2] == rows.size, y.shape[3] == columns.size, x.element == y.element, x.element.isReal
            else { return nil }
            return PrimitiveType([x.shape[0], rows.outputSize(of: x.shape[1]), columns.outputSize(of: x.shape[2]), y.shape[0]], x.element)
        default: return nil
        }
    }
}
