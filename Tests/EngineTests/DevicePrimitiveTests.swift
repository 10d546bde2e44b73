import MRPDevice
import MRPEngine
import TestSupport
import Testing

/// Every operation on a device against its plain kernel, in float64: the same cases as `PrimitiveTests`.
@Suite(.enabled(if: DevicePlugin.device != nil, Comment(rawValue: DevicePlugin.reason)))
struct DevicePrimitiveTests {
    @Test(arguments: PrimitiveCase.all) func meaning(_ item: PrimitiveCase) throws {
        let device = try #require(DevicePlugin.device)
        let compute = try Compute(precision: .float64)
        let (g, other) = (CaseGraph(), CaseGraph())
        let (outputs, otherOutputs) = (try item.outputs(g), try item.outputs(other))
        let expected = try CPUBackend(compute).compile(g.graph, outputs: outputs, state: g.tensors)
        let backend = try DeviceBackend(device: device, precision: .highest, compute: compute, cache: nil)
        let actual = try backend.compile(other.graph, outputs: otherOutputs, state: other.tensors)
        try g.fill(expected)
        try other.fill(actual)
        try expected.run()
        try actual.run()
        try actual.downloadState()
        for (index, (a, b)) in zip(outputs, otherOutputs).enumerated() {
            let difference = try Self.difference(expected, a, actual, b, g.graph.type(of: a))
            #expect(difference < 1e-9, "\(item.name): output \(index)")
        }
        for (name, tensor) in g.tensors {
            let result = try #require(other.tensors[name])
            guard tensor.type.element != .int32 else { continue }
            let (a, b) = ((0..<tensor.count).map { tensor[$0] }, (0..<tensor.count).map { result[$0] })
            #expect(Self.difference(a, b) < 1e-9, "\(item.name): \(name)")
        }
    }

    /// Largest difference over the tensor's largest value.
    private static func difference(_ a: [Double], _ b: [Double]) -> Double {
        let scale = a.reduce(1e-3) { $1.isFinite ? max($0, abs($1)) : $0 }
        return zip(a, b).reduce(0) { largest, pair in
            if pair.0 == pair.1 || (pair.0.isNaN && pair.1.isNaN) { return largest }
            let difference = abs(pair.0 - pair.1) / scale
            return difference.isNaN ? .infinity : max(largest, difference)
        }
    }

    private static func difference(
        _ a: any Program, _ x: Value, _ b: any Program, _ y: Value, _ type: TensorType
    ) throws -> Double {
        guard type.element == .int32 else { return try difference(a.reals(x), b.reals(y)) }
        func numbers(_ program: any Program, _ value: Value) throws -> [Double] {
            try program.withOutput(value, as: Int32.self) { $0.map(Double.init) }
        }
        return try difference(numbers(a, x), numbers(b, y))
    }
}
