import MRPDevice
import MRPEngine
import MRPModels
import MRPOptions

/// Programs for other runtimes: StableHLO text, and a JSON file that names its arguments and results.
public enum StableHLOExport {
    /// The step of a run.
    public static func write(_ trainer: Trainer, to path: String) throws {
        let guards = [trainer.loss] + trainer.optimizer.norms.map(\.value)
        let program = try trainer.graph.lowered(outputs: trainer.outputs + guards, guards: guards)
        let names =
            trainer.outputs.indices.map { "output \($0)" } + ["loss"] + trainer.optimizer.norms.map { "norm of the gradient of \($0.name)" }
        try write(program, names, precision: trainer.options[RunOptions.matmulPrecision], to: path)
    }

    /// What a model computes of `batch_size` images.
    public static func write(_ model: Model, to path: String, _ options: Options) throws {
        let batch = options[TrainingOptions.batchSize, .pretrain] ?? 1
        let (graph, outputs) = try OnnxExport.graph(of: model, options, batch: batch)
        let program = try graph.lowered(outputs: outputs.map(\.value))
        try write(program, outputs.map(\.name), precision: options[RunOptions.matmulPrecision], to: path)
    }

    private static func write(_ program: PrimitiveProgram, _ names: [String], precision: MatmulPrecision, to path: String) throws {
        try write(StableHLO.text(program, precision: precision), to: path)
        try write(description(program, names).text(indent: 1) + "\n", to: path + ".json")
    }

    private static func write(_ text: String, to path: String) throws {
        var text = text
        try text.withUTF8 { try FileSystem.replace(path, with: [UnsafeRawBufferPointer($0)]) }
    }

    /// Arguments and results in order. The last result, where `accepted` is its place, tells whether all guards were finite.
    private static func description(_ program: PrimitiveProgram, _ names: [String]) -> JSON {
        func type(_ value: Int) -> [(key: String, value: JSON)] {
            let type = program.types[value]
            return [("shape", .array(type.shape.map { .integer($0) })), ("element", .string("\(type.element)"))]
        }
        let arguments = program.arguments.map { argument -> JSON in
            let source: [(key: String, value: JSON)] =
                switch argument.source {
                case .input(let name): [("name", .string(name)), ("kind", .string("input"))]
                case .bound(let name): [("name", .string(name)), ("kind", .string("state"))]
                case .host(let value): [("name", .string("host \(value.id)")), ("kind", .string("host"))]
                }
            return .object(source + type(argument.value))
        }
        let results = program.results.enumerated().map { index, result -> JSON in
            let source: [(key: String, value: JSON)] =
                result.updates.map { [("updates", .integer($0))] } ?? [("name", .string(names[index]))]
            return .object(source + type(result.value))
        }
        return .object([
            ("format", .string("stablehlo")), ("arguments", .array(arguments)), ("results", .array(results)),
            ("accepted", program.accepted == nil ? .null : .integer(program.results.count)),
        ])
    }
}
