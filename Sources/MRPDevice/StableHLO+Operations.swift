import MRPEngine

/// Each primitive as a line of text.
extension StableHLO {
    // MARK: Types and constants

    static func name(_ element: PrimitiveElement) -> String {
        switch element {
        case .f32: "f32"
        case .f64: "f64"
        case .i32: "i32"
        case .i1: "i1"
        }
    }

    static func type(_ shape: [Int], _ element: String) -> String { "tensor<\(shape.map { "\($0)x" }.joined())\(element)>" }

    static func type(_ type: PrimitiveType) -> String { Self.type(type.shape, name(type.element)) }

    private static func list(_ numbers: [Int]) -> String { "[\(numbers.map(String.init).joined(separator: ", "))]" }

    private static func hexadecimal(_ bits: UInt64, digits: Int) -> String {
        let text = String(bits, radix: 16, uppercase: true)
        return "0x" + String(repeating: "0", count: digits - text.count) + text
    }

    /// The bits of a number: decimal digits would be rounded again.
    private static func literal(_ number: Double, _ element: PrimitiveElement) -> String {
        switch element {
        case .f32: hexadecimal(UInt64(Float(number).bitPattern), digits: 8)
        case .f64: hexadecimal(number.bitPattern, digits: 16)
        case .i32: "\(Int(number))"
        case .i1: number == 0 ? "false" : "true"
        }
    }

    private static func constant(_ number: Double, _ type: PrimitiveType) -> String {
        "stablehlo.constant dense<\(literal(number, type.element))> : \(Self.type(type))"
    }

    /// All elements of a tensor, as the bytes of a little-endian machine.
    private static func dense(_ tensor: Tensor, _ type: PrimitiveType) throws -> String {
        guard type.count > 0 else { return "stablehlo.constant dense<> : \(Self.type(type))" }
        let digits = Array("0123456789ABCDEF".utf8)
        var text: [UInt8] = []
        func append(_ bytes: some Sequence<UInt8>) {
            for byte in bytes {
                text.append(digits[Int(byte >> 4)])
                text.append(digits[Int(byte & 15)])
            }
        }
        text.reserveCapacity(tensor.bytes * 4)
        if type.count == 1, type.element != .i32 { return constant(tensor[0], type) }
        if type.count == 1 { return constant(Double(tensor.int32[0]), type) }
        for index in 0..<type.count {
            switch type.element {
            case .i32: withUnsafeBytes(of: tensor.int32[index].littleEndian) { append($0) }
            case .f32: withUnsafeBytes(of: Float(tensor[index]).bitPattern.littleEndian) { append($0) }
            case .f64: withUnsafeBytes(of: tensor[index].bitPattern.littleEndian) { append($0) }
            case .i1: throw MRPError(.internalError, "StableHLO: a constant tensor of i1")
            }
        }
        return "stablehlo.constant dense<\"0x\(String(decoding: text, as: UTF8.self))\"> : \(Self.type(type))"
    }

    // MARK: Operations

    /// The text of an instruction that is no product; constants that it needs are lines before it.
    mutating func operation(
        _ primitive: Primitive, _ x: [String], _ types: [PrimitiveType], _ result: PrimitiveType
    ) throws -> String {
        let to = Self.type(result)
        /// (operand types) -> result type
        let signature = "(\(types.map { Self.type($0) }.joined(separator: ", "))) -> \(to)"
        switch primitive {
        case .constant(let number, let type): return Self.constant(number, type)
        case .dense(let tensor, let type): return try Self.dense(tensor, type)
        case .iota(let dimension, _): return "stablehlo.iota dim = \(dimension) : \(to)"
        case .convert: return "stablehlo.convert \(x[0]) : \(signature)"
        case .unary(.erf): return "chlo.erf \(x[0]) : \(Self.type(types[0])) -> \(to)"
        case .unary(.isFinite): return "stablehlo.is_finite \(x[0]) : \(signature)"
        case .unary(let function): return "stablehlo.\(function.rawValue) \(x[0]) : \(to)"
        case .binary(let function): return "stablehlo.\(function.rawValue) \(x[0]), \(x[1]) : \(to)"
        case .compare(let comparison):
            let kind = types[0].element.isReal ? "FLOAT" : "SIGNED"
            return "stablehlo.compare \(comparison.rawValue), \(x[0]), \(x[1]), \(kind) : \(signature)"
        case .select: return "stablehlo.select \(x[0]), \(x[1]), \(x[2]) : \(Self.type(types[0])), \(to)"
        case .reshape: return "stablehlo.reshape \(x[0]) : \(signature)"
        case .transpose(let order): return "stablehlo.transpose \(x[0]), dims = \(Self.list(order)) : \(signature)"
        case .broadcastInDim(_, let dimensions):
            return "stablehlo.broadcast_in_dim \(x[0]), dims = \(Self.list(dimensions)) : \(signature)"
        case .slice(let ranges, let strides):
            let parts = zip(ranges, strides).map { "\($0.lowerBound):\($0.upperBound):\($1)" }
            return "stablehlo.slice \(x[0]) [\(parts.joined(separator: ", "))] : \(signature)"
        case .pad(let edges):
            let (low, high) = (Self.list(edges.map(\.low)), Self.list(edges.map(\.high)))
            let interior = Self.list(edges.map(\.interior))
            return "stablehlo.pad \(x[0]), \(x[1]), low = \(low), high = \(high), interior = \(interior) : \(signature)"
        case .reverse(let dimensions): return "stablehlo.reverse \(x[0]), dims = \(Self.list(dimensions)) : \(to)"
        case .concatenate(let dimension):
            return "stablehlo.concatenate \(x.joined(separator: ", ")), dim = \(dimension) : \(signature)"
        case .gather(let dimension): return Self.gather(x, types, dimension, signature)
        case .scatterAdd:
            let zeros = line(Self.constant(0, result))
            return Self.scatterAdd(x, types, result, zeros)
        case .reduce(let reduction, let dimensions):
            let start = line(Self.constant(Self.neutral(reduction, result.element), PrimitiveType([], result.element)))
            return "stablehlo.reduce(\(x[0]) init: \(start)) applies stablehlo.\(reduction.rawValue) across dimensions = "
                + "\(Self.list(dimensions)) : (\(Self.type(types[0])), \(Self.type([], Self.name(result.element)))) -> \(to)"
        case .reduceWindow(let reduction, let rows, let columns):
            let start = line(Self.constant(Self.neutral(reduction, result.element), PrimitiveType([], result.element)))
            return Self.reduceWindow([x[0], start], reduction, types[0], [rows, columns], result)
        case .allReduce:
            let groups = (0..<replicas).map(String.init).joined(separator: ", ")
            return "\"stablehlo.all_reduce\"(\(x[0])) <{replica_groups = dense<[[\(groups)]]> : tensor<1x\(replicas)xi64>}> "
                + "\(Self.region("add", result.element)) : \(signature)"
        case .dotGeneral, .convolution: throw MRPError(.internalError, "StableHLO: a product is written elsewhere")
        }
    }

    private static func gather(_ x: [String], _ types: [PrimitiveType], _ dimension: Int, _ signature: String) -> String {
        let (shape, ids) = (types[0].shape, types[1].shape)
        let rank = shape.count - 1 + ids.count
        let offsets = (0..<rank).filter { !(dimension..<(dimension + ids.count)).contains($0) }
        let sizes = shape.enumerated().map { $0 == dimension ? 1 : $1 }.map(String.init).joined(separator: ", ")
        let numbers =
            "offset_dims = \(list(offsets)), collapsed_slice_dims = [\(dimension)], start_index_map = [\(dimension)], index_vector_dim = \(ids.count)"
        return "\"stablehlo.gather\"(\(x[0]), \(x[1])) <{dimension_numbers = #stablehlo.gather<\(numbers)>, "
            + "indices_are_sorted = false, slice_sizes = array<i64: \(sizes)>}> : \(signature)"
    }

    /// A region that reduces two scalars.
    static func region(_ function: String, _ element: PrimitiveElement) -> String {
        let scalar = type([], name(element))
        return "({^bb0(%x: \(scalar), %y: \(scalar)): %z = stablehlo.\(function) %x, %y : \(scalar) stablehlo.return %z : \(scalar)})"
    }

    private static func scatterAdd(_ x: [String], _ types: [PrimitiveType], _ result: PrimitiveType, _ zeros: String) -> String {
        let numbers =
            "update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1"
        return "\"stablehlo.scatter\"(\(zeros), \(x[1]), \(x[0])) <{scatter_dimension_numbers = #stablehlo.scatter<\(numbers)>, "
            + "indices_are_sorted = false, unique_indices = false}> \(region("add", result.element)) : "
            + "(\(type(result)), \(type(types[1])), \(type(types[0]))) -> \(type(result))"
    }

    /// A window over dimensions 1 and 2 of four.
    private static func reduceWindow(
        _ x: [String], _ reduction: Primitive.Reduction, _ from: PrimitiveType, _ windows: [PrimitiveWindow], _ result: PrimitiveType
    ) -> String {
        func array(_ key: KeyPath<PrimitiveWindow, Int>) -> String {
            "array<i64: 1, \(windows[0][keyPath: key]), \(windows[1][keyPath: key]), 1>"
        }
        let padding =
            "dense<[[0, 0], [\(windows[0].low), \(windows[0].high)], [\(windows[1].low), \(windows[1].high)], [0, 0]]> : tensor<4x2xi64>"
        return "\"stablehlo.reduce_window\"(\(x[0]), \(x[1])) <{base_dilations = \(array(\.baseDilation)), padding = \(padding), "
            + "window_dilations = \(array(\.windowDilation)), window_dimensions = \(array(\.size)), window_strides = \(array(\.stride))}> "
            + "\(region(reduction.rawValue, from.element)) : (\(type(from)), \(type([], name(from.element)))) -> \(type(result))"
    }

    private static func neutral(_ reduction: Primitive.Reduction, _ element: PrimitiveElement) -> Double {
        switch reduction {
        case .sum: 0
        case .maximum: element == .i32 ? Double(Int32.min) : -.infinity
        case .minimum: element == .i32 ? Double(Int32.max) : .infinity
        }
    }

    /// A matrix product or a convolution of operands in any element.
    static func product(_ primitive: Primitive, _ x: [String], _ types: [String], _ result: String, precision: String) -> String {
        let signature = "(\(types.joined(separator: ", "))) -> \(result)"
        switch primitive {
        case .dotGeneral(let batch, let (left, right)):
            let axes = list(Array(0..<batch))
            let batching = batch > 0 ? "batching_dims = \(axes) x \(axes), " : ""
            return "stablehlo.dot_general \(x[0]), \(x[1]), \(batching)contracting_dims = [\(left)] x [\(right)], "
                + "precision = [\(precision), \(precision)] : \(signature)"
        case .convolution(let rows, let columns, let groups):
            func pair(_ key: KeyPath<PrimitiveWindow, Int>) -> String { "[\(rows[keyPath: key]), \(columns[keyPath: key])]" }
            let window =
                "stride = \(pair(\.stride)), pad = [[\(rows.low), \(rows.high)], [\(columns.low), \(columns.high)]], "
                + "lhs_dilate = \(pair(\.baseDilation)), rhs_dilate = \(pair(\.windowDilation)), reverse = [false, false]"
            return "stablehlo.convolution(\(x[0]), \(x[1])) dim_numbers = [b, 0, 1, f]x[o, i, 0, 1]->[b, 0, 1, f], window = {\(window)} "
                + "{batch_group_count = 1 : i64, feature_group_count = \(groups) : i64, "
                + "precision_config = [#stablehlo<precision \(precision)>, #stablehlo<precision \(precision)>]} : \(signature)"
        default: return ""
        }
    }
}
