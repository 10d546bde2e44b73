import Glibc
import MRPEngine

/// Runs a program of primitives in float64 with plain loops: what the exporters' targets are held against.
public struct PrimitiveInterpreter {
    /// Elements in row-major order; indices and truth values are numbers too.
    public typealias Numbers = [Double]

    let program: PrimitiveProgram
    private var values: [Numbers]

    public init(_ program: PrimitiveProgram) {
        self.program = program
        values = [Numbers](repeating: [], count: program.types.count)
    }

    /// The results, in order, of arguments given in order.
    public mutating func run(_ arguments: [Numbers]) -> [Numbers] {
        precondition(arguments.count == program.arguments.count)
        for (argument, numbers) in zip(program.arguments, arguments) {
            precondition(numbers.count == program.types[argument.value].count)
            values[argument.value] = numbers
        }
        for instruction in program.instructions {
            let result = Evaluation(
                type: program.types[instruction.result], operands: instruction.operands.map { values[$0] },
                types: instruction.operands.map { program.types[$0] }
            ).value(of: instruction.primitive)
            precondition(result.count == program.types[instruction.result].count, "\(instruction)")
            values[instruction.result] = result
        }
        return program.results.map { values[$0.value] }
    }
}

/// One instruction.
private struct Evaluation {
    let type: PrimitiveType
    let operands: [[Double]]
    let types: [PrimitiveType]

    private var x: [Double] { operands[0] }
    private var y: [Double] { operands[1] }
    private var shape: [Int] { types[0].shape }

    func value(of primitive: Primitive) -> [Double] {
        switch primitive {
        case .constant(let number, _): return [Double](repeating: number, count: type.count)
        case .dense(let tensor, _): return (0..<tensor.count).map { tensor.type.element == .int32 ? Double(tensor.int32[$0]) : tensor[$0] }
        case .iota(let dimension, _): return fromPlaces { Double($0[dimension]) }
        case .convert, .reshape, .allReduce: return x
        case .unary(let function): return x.map { unary(function, $0) }
        case .binary(let function): return zip(x, y).map { binary(function, $0, $1) }
        case .compare(let comparison): return zip(x, y).map { compare(comparison, $0, $1) ? 1 : 0 }
        case .select: return x.indices.map { x[$0] != 0 ? y[$0] : operands[2][$0] }
        case .transpose(let order):
            let strides = strides(shape)
            let moved = order.map { strides[$0] }
            return fromPlaces { x[dot($0, moved)] }
        case .broadcastInDim(_, let dimensions):
            let strides = strides(shape)
            return fromPlaces { place in
                x[dimensions.indices.reduce(0) { $0 + (shape[$1] == 1 ? 0 : place[dimensions[$1]] * strides[$1]) }]
            }
        case .slice(let ranges, let steps):
            let strides = strides(shape)
            return fromPlaces { place in x[place.indices.reduce(0) { $0 + (ranges[$1].lowerBound + place[$1] * steps[$1]) * strides[$1] }] }
        case .reverse(let dimensions):
            let strides = strides(shape)
            return fromPlaces { place in
                x[place.indices.reduce(0) { $0 + (dimensions.contains($1) ? shape[$1] - 1 - place[$1] : place[$1]) * strides[$1] }]
            }
        case .pad(let edges): return pad(edges)
        case .concatenate(let dimension): return concatenate(dimension)
        case .gather(let dimension): return gather(dimension)
        case .scatterAdd(let rows): return scatterAdd(rows)
        case .reduce(let reduction, let dimensions): return reduce(reduction, dimensions)
        case .dotGeneral(let batch, let (left, right)): return dotGeneral(batch, left, right)
        case .convolution(let rows, let columns, let groups): return convolution(rows, columns, groups)
        case .reduceWindow(let reduction, let rows, let columns): return reduceWindow(reduction, rows, columns)
        }
    }

    // MARK: Places

    private func strides(_ shape: [Int]) -> [Int] {
        var (result, next) = (shape, 1)
        for axis in shape.indices.reversed() { (result[axis], next) = (next, next * shape[axis]) }
        return result
    }

    private func dot(_ a: [Int], _ b: [Int]) -> Int {
        var sum = 0
        for index in a.indices { sum += a[index] * b[index] }
        return sum
    }

    /// Calls the body for each place of a shape, in row-major order.
    private func forEachPlace(_ shape: [Int], _ body: ([Int]) -> Void) {
        var place = shape.map { _ in 0 }
        for _ in 0..<shape.reduce(1, *) {
            body(place)
            var axis = shape.count - 1
            while axis >= 0 {
                place[axis] += 1
                if place[axis] < shape[axis] { break }
                place[axis] = 0
                axis -= 1
            }
        }
    }

    private func fromPlaces(_ element: ([Int]) -> Double) -> [Double] {
        var result: [Double] = []
        result.reserveCapacity(type.count)
        forEachPlace(type.shape) { result.append(element($0)) }
        return result
    }

    // MARK: Functions

    private func unary(_ function: Primitive.Unary, _ x: Double) -> Double {
        switch function {
        case .negate: -x
        case .exponential: exp(x)
        case .log: log(x)
        case .sqrt: x.squareRoot()
        case .rsqrt: 1 / x.squareRoot()
        case .tanh: tanh(x)
        case .abs: abs(x)
        case .sign: x > 0 ? 1 : x < 0 ? -1 : x
        case .erf: erf(x)
        case .isFinite: x.isFinite ? 1 : 0
        }
    }

    private func binary(_ function: Primitive.Binary, _ a: Double, _ b: Double) -> Double {
        switch function {
        case .add: a + b
        case .subtract: a - b
        case .multiply, .and: a * b
        case .divide: a / b
        case .maximum: a.isNaN || a > b ? a : b
        case .minimum: a.isNaN || a < b ? a : b
        case .power: pow(a, b)
        case .or: a != 0 || b != 0 ? 1 : 0
        }
    }

    private func compare(_ comparison: Primitive.Comparison, _ a: Double, _ b: Double) -> Bool {
        switch comparison {
        case .equal: a == b
        case .notEqual: a != b
        case .less: a < b
        case .greater: a > b
        case .greaterOrEqual: a >= b
        }
    }

    private func neutral(_ reduction: Primitive.Reduction) -> Double {
        reduction == .sum ? 0 : reduction == .maximum ? -.infinity : .infinity
    }

    private func combine(_ reduction: Primitive.Reduction, _ a: Double, _ b: Double) -> Double {
        reduction == .sum ? a + b : binary(reduction == .maximum ? .maximum : .minimum, a, b)
    }

    // MARK: Rows and sums

    private func pad(_ edges: [PrimitivePadding]) -> [Double] {
        var result = [Double](repeating: y[0], count: type.count)
        let strides = strides(type.shape)
        var index = 0
        forEachPlace(shape) { place in
            let target = place.indices.map { edges[$0].low + place[$0] * (edges[$0].interior + 1) }
            if target.indices.allSatisfy({ type.shape.indices ~= $0 && 0..<type.shape[$0] ~= target[$0] }) {
                result[dot(target, strides)] = x[index]
            }
            index += 1
        }
        return result
    }

    private func concatenate(_ dimension: Int) -> [Double] {
        let (outer, inner) = (type.shape[..<dimension].reduce(1, *), type.shape[(dimension + 1)...].reduce(1, *))
        var result: [Double] = []
        for block in 0..<outer {
            for (numbers, type) in zip(operands, types) {
                let size = type.shape[dimension] * inner
                result += numbers[(block * size)..<((block + 1) * size)]
            }
        }
        return result
    }

    private func gather(_ dimension: Int) -> [Double] {
        let (outer, inner) = (shape[..<dimension].reduce(1, *), shape[(dimension + 1)...].reduce(1, *))
        var result: [Double] = []
        for block in 0..<outer {
            for index in y {
                precondition(index >= 0 && Int(index) < shape[dimension], "row \(index) of \(shape[dimension])")
                let first = (block * shape[dimension] + Int(index)) * inner
                result += x[first..<(first + inner)]
            }
        }
        return result
    }

    private func scatterAdd(_ rows: Int) -> [Double] {
        let width = shape[1]
        var result = [Double](repeating: 0, count: rows * width)
        for (row, index) in y.enumerated() where index >= 0 && Int(index) < rows {
            for column in 0..<width { result[Int(index) * width + column] += x[row * width + column] }
        }
        return result
    }

    private func reduce(_ reduction: Primitive.Reduction, _ dimensions: [Int]) -> [Double] {
        var result = [Double](repeating: neutral(reduction), count: type.count)
        var targets = strides(type.shape)
        for dimension in dimensions.sorted() { targets.insert(0, at: dimension) }
        var index = 0
        forEachPlace(shape) { place in
            let target = dot(place, targets)
            result[target] = combine(reduction, result[target], x[index])
            index += 1
        }
        return result
    }

    private func dotGeneral(_ batch: Int, _ left: Int, _ right: Int) -> [Double] {
        /// Offsets of all places over these axes.
        func offsets(_ shape: [Int], _ axes: [Int]) -> [Int] {
            let strides = strides(shape)
            var result: [Int] = []
            forEachPlace(axes.map { shape[$0] }) { place in result.append(dot(place, axes.map { strides[$0] })) }
            return result
        }
        func rest(_ shape: [Int], _ contracted: Int) -> [Int] { (batch..<shape.count).filter { $0 != contracted } }
        let other = types[1].shape
        let (lefts, rights) = (offsets(shape, rest(shape, left)), offsets(other, rest(other, right)))
        let (leftSteps, rightSteps) = (offsets(shape, [left]), offsets(other, [right]))
        var result: [Double] = []
        x.withUnsafeBufferPointer { x in
            y.withUnsafeBufferPointer { y in
                for (first, second) in zip(offsets(shape, Array(0..<batch)), offsets(other, Array(0..<batch))) {
                    for a in lefts {
                        for b in rights {
                            var sum = 0.0
                            for k in leftSteps.indices { sum += x[first + a + leftSteps[k]] * y[second + b + rightSteps[k]] }
                            result.append(sum)
                        }
                    }
                }
            }
        }
        return result
    }

    // MARK: Windows

    /// For each output position the input position of each tap that meets an element.
    private func taps(_ window: PrimitiveWindow, _ size: Int) -> [[(tap: Int, position: Int)]] {
        (0..<window.outputSize(of: size)).map { output in
            (0..<window.size).compactMap { tap in
                let spread = output * window.stride + tap * window.windowDilation - window.low
                guard spread >= 0, spread % window.baseDilation == 0, spread / window.baseDilation < size else { return nil }
                return (tap, spread / window.baseDilation)
            }
        }
    }

    private func convolution(_ rows: PrimitiveWindow, _ columns: PrimitiveWindow, _ groups: Int) -> [Double] {
        let (height, width, channels) = (shape[1], shape[2], shape[3])
        let (outputs, depth) = (types[1].shape[0], types[1].shape[1])
        let (rowTaps, columnTaps) = (taps(rows, height), taps(columns, width))
        var result: [Double] = []
        x.withUnsafeBufferPointer { x in
            y.withUnsafeBufferPointer { weight in
                for image in 0..<shape[0] {
                    for rowTap in rowTaps {
                        for columnTap in columnTaps {
                            for output in 0..<outputs {
                                var sum = 0.0
                                let channel = output / (outputs / groups) * depth
                                for (i, row) in rowTap {
                                    for (j, column) in columnTap {
                                        let at = ((image * height + row) * width + column) * channels + channel
                                        let from = (output * depth * rows.size + i) * columns.size + j
                                        for c in 0..<depth { sum += x[at + c] * weight[from + c * rows.size * columns.size] }
                                    }
                                }
                                result.append(sum)
                            }
                        }
                    }
                }
            }
        }
        return result
    }

    private func reduceWindow(_ reduction: Primitive.Reduction, _ rows: PrimitiveWindow, _ columns: PrimitiveWindow) -> [Double] {
        let (height, width, channels) = (shape[1], shape[2], shape[3])
        let (rowTaps, columnTaps) = (taps(rows, height), taps(columns, width))
        var result: [Double] = []
        for image in 0..<shape[0] {
            for rowTap in rowTaps {
                for columnTap in columnTaps {
                    for channel in 0..<channels {
                        var value = neutral(reduction)
                        for (_, row) in rowTap {
                            for (_, column) in columnTap {
                                value = combine(reduction, value, x[((image * height + row) * width + column) * channels + channel])
                            }
                        }
                        result.append(value)
                    }
                }
            }
        }
        return result
    }
}
