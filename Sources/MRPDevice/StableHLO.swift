import MRPEngine

/// A program of primitives as StableHLO text: a module with one function `main`.
///
/// Arguments are those of the program, in order; results too, and behind them whether the guards were finite (i1), where there are guards.
/// An argument that a result updates is donated to it (`tf.aliasing_output`).
public struct StableHLO {
    /// How attention is written.
    public enum AttentionForm: Sendable {
        case primitives
        /// cuDNN's flash attention, for bfloat16 on NVIDIA's devices.
        case cudnn
    }

    let program: PrimitiveProgram
    let precision: MatmulPrecision
    let attention: AttentionForm
    let replicas: Int
    var lines: [String] = []
    /// Names by the number of the value.
    private var names: [Int: String] = [:]
    /// Names of values in bfloat16.
    private var narrow: [Int: String] = [:]
    /// Results of attention calls by their operands.
    var calls: [[Int]: String] = [:]
    private var fresh = 0

    public init(
        _ program: PrimitiveProgram, precision: MatmulPrecision = .highest, attention: AttentionForm = .primitives, replicas: Int = 1
    ) {
        (self.program, self.precision, self.attention, self.replicas) = (program, precision, attention, replicas)
    }

    /// Errors: `.internalError` for a value that is read before it is made.
    public static func text(
        _ program: PrimitiveProgram, precision: MatmulPrecision = .highest, attention: AttentionForm = .primitives, replicas: Int = 1
    ) throws -> String {
        var emitter = StableHLO(program, precision: precision, attention: attention, replicas: replicas)
        return try emitter.module()
    }

    private mutating func module() throws -> String {
        var donated: [Int: Int] = [:]
        for (index, result) in program.results.enumerated() { if let argument = result.updates { donated[argument] = index } }
        let arguments = program.arguments.enumerated().map { index, argument in
            names[argument.value] = "%a\(index)"
            let attribute = donated[index].map { " {tf.aliasing_output = \($0) : i32}" } ?? ""
            return "%a\(index): \(Self.type(program.types[argument.value]))\(attribute)"
        }
        for instruction in neededInstructions() { try append(instruction) }
        let results = program.results.map(\.value) + (program.accepted.map { [$0] } ?? [])
        let types = results.map { Self.type(program.types[$0]) }.joined(separator: ", ")
        let body = lines.joined(separator: "\n    ")
        let values = try results.map { try name($0) }.joined(separator: ", ")
        return """
            module @mrp attributes {mhlo.num_replicas = \(replicas) : i32, mhlo.num_partitions = 1 : i32} {
              func.func public @main(\(arguments.joined(separator: ", "))) -> (\(types)) {
                \(body)
                return \(values) : \(types)
              }
            }

            """
    }

    /// The instructions that the results need, without those that a call replaces.
    private func neededInstructions() -> [PrimitiveProgram.Instruction] {
        var needed = Set(program.results.map(\.value) + (program.accepted.map { [$0] } ?? []))
        var kept: [PrimitiveProgram.Instruction] = []
        for instruction in program.instructions.reversed() where needed.contains(instruction.result) {
            needed.formUnion(call(for: instruction.result)?.operands ?? instruction.operands)
            kept.append(instruction)
        }
        return kept.reversed()
    }

    private mutating func append(_ instruction: PrimitiveProgram.Instruction) throws {
        if let (part, operands) = call(for: instruction.result) {
            names[instruction.result] = try attentionResult(part, operands)
        } else if let result = try product(instruction) {
            names[instruction.result] = result
        } else {
            let operands = try instruction.operands.map { try name($0) }
            let types = instruction.operands.map { program.types[$0] }
            names[instruction.result] = line(try operation(instruction.primitive, operands, types, program.types[instruction.result]))
        }
    }

    // MARK: Values

    func name(_ value: Int) throws -> String {
        guard let name = names[value] else { throw MRPError(.internalError, "StableHLO: a value is read before it is made") }
        return name
    }

    /// Appends an instruction and names its result.
    mutating func line(_ text: String, results: Int = 1) -> String {
        fresh += 1
        lines.append("%\(fresh)\(results > 1 ? ":\(results)" : "") = \(text)")
        return "%\(fresh)"
    }

    mutating func convert(_ name: String, _ shape: [Int], from: String, to: String) -> String {
        line("stablehlo.convert \(name) : (\(Self.type(shape, from))) -> \(Self.type(shape, to))")
    }

    /// The value in bfloat16.
    mutating func narrowed(_ value: Int) throws -> String {
        if let known = narrow[value] { return known }
        let new = convert(try name(value), program.types[value].shape, from: "f32", to: "bf16")
        narrow[value] = new
        return new
    }

    // MARK: Products

    /// Matrix products and convolutions, in the precision that was asked for; nil: the instruction is another.
    private mutating func product(_ instruction: PrimitiveProgram.Instruction) throws -> String? {
        let types = instruction.operands.map { program.types[$0] }
        let result = program.types[instruction.result]
        guard Self.isProduct(instruction.primitive) else { return nil }
        guard precision == .medium, result.element == .f32 else {
            let operands = try instruction.operands.map { try name($0) }
            return line(
                Self.product(
                    instruction.primitive, operands, types.map { Self.type($0) }, Self.type(result),
                    precision: precision == .highest ? "HIGHEST" : "DEFAULT"))
        }
        // Gradients of weights are sums over the rows of a batch: they leave the unit in float32, as it adds.
        let out = Self.isSumOverRows(instruction.primitive) ? "f32" : "bf16"
        let operands = try instruction.operands.map { try narrowed($0) }
        let narrowTypes = types.map { Self.type($0.shape, "bf16") }
        let new = line(Self.product(instruction.primitive, operands, narrowTypes, Self.type(result.shape, out), precision: "DEFAULT"))
        guard out == "bf16" else { return new }
        narrow[instruction.result] = new
        return convert(new, result.shape, from: "bf16", to: "f32")
    }

    private static func isProduct(_ primitive: Primitive) -> Bool {
        switch primitive {
        case .dotGeneral, .convolution: true
        default: false
        }
    }

    private static func isSumOverRows(_ primitive: Primitive) -> Bool {
        if case .dotGeneral(0, (0, _)) = primitive { true } else { false }
    }
}
