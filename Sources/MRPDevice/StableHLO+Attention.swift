import MRPEngine

/// cuDNN's flash attention as a custom call. XLA does not find it in the primitives by itself (openxla/xla issue 23389); names, operands and
/// configuration are those of `jax.nn.dot_product_attention` (jax/_src/cudnn/fused_attention_stablehlo.py).
extension StableHLO {
    /// The attention that a value is a part of, where it becomes a call.
    func call(for value: Int) -> (part: PrimitiveComposite.Attention, operands: [Int])? {
        guard attention == .cudnn, precision == .medium, case .attention(let part)? = program.composites[value]?.function,
            let operands = program.composites[value]?.operands
        else { return nil }
        let q = program.types[operands[0]]
        // Head widths that it takes.
        guard q.element == .f32, let width = q.shape.last, width % 8 == 0, width <= 128 else { return nil }
        return (part, operands)
    }

    /// One result of the call, in float32; the first one that is asked for makes it.
    mutating func attentionResult(_ part: PrimitiveComposite.Attention, _ operands: [Int]) throws -> String {
        let isGradient = part.rawValue >= PrimitiveComposite.Attention.queryGradient.rawValue
        let known = calls[operands]
        let call = try known ?? (isGradient ? gradientCall(operands) : outputCall(operands))
        calls[operands] = call
        switch part {
        case .output: return byToken("\(call)#0", of: operands[0])
        case .logSumExp: return "\(call)#1"
        case .queryGradient: return byToken("\(call)#0", of: operands[0])
        case .keyGradient: return byToken("\(call)#1", of: operands[1])
        case .valueGradient: return byToken("\(call)#2", of: operands[2])
        }
    }

    /// A result [B, heads, T, d], which lies in memory as [B, T, heads, d], as such and in float32.
    private mutating func byToken(_ name: String, of operand: Int) -> String {
        let shape = program.types[operand].shape
        let to = Self.type(shape, "bf16")
        let turned = line("stablehlo.transpose \(name), dims = [0, 2, 1, 3] : (\(Self.byHead(shape))) -> \(to)")
        return convert(turned, shape, from: "bf16", to: "f32")
    }

    private static func byHead(_ shape: [Int]) -> String { type([shape[0], shape[2], shape[1], shape[3]], "bf16") }

    private static let tokenLayout = "dense<[3, 1, 2, 0]> : tensor<4xindex>"

    private static func rowMajor(_ rank: Int) -> String {
        "dense<[\((0..<rank).reversed().map(String.init).joined(separator: ", "))]> : tensor<\(rank)xindex>"
    }

    private mutating func outputCall(_ operands: [Int]) throws -> String {
        let (q, k) = (program.types[operands[0]].shape, program.types[operands[1]].shape)
        let inputs = try operands.map { try narrowed($0) }
        return customCall(
            "__cudnn$fmhaSoftmax", inputs, operands.map { Self.type(program.types[$0].shape, "bf16") },
            results: [Self.byHead(q), Self.type([q[0], q[2], q[1]], "f32"), "tensor<0xui8>"],
            layouts: [Self.tokenLayout, Self.rowMajor(3), Self.rowMajor(1)], ranks: [4, 4, 4],
            configuration: Self.configuration(q, k, isGradient: false))
    }

    /// Operands: q, k, v, log-sum-exp, d out, out.
    private mutating func gradientCall(_ operands: [Int]) throws -> String {
        let (q, k) = (program.types[operands[0]].shape, program.types[operands[1]].shape)
        let inputs = try operands.enumerated().map { try $0 == 3 ? name($1) : narrowed($1) }
        let types = operands.enumerated().map { Self.type(program.types[$1].shape, $0 == 3 ? "f32" : "bf16") }
        return customCall(
            "__cudnn$fmhaSoftmaxBackward", inputs, types,
            results: [Self.byHead(q), Self.byHead(k), Self.byHead(k), "tensor<0xui8>"],
            layouts: [Self.tokenLayout, Self.tokenLayout, Self.tokenLayout, Self.rowMajor(1)], ranks: [4, 4, 4, 3, 4, 4],
            configuration: Self.configuration(q, k, isGradient: true))
    }

    private mutating func customCall(
        _ target: String, _ operands: [String], _ types: [String], results: [String], layouts: [String], ranks: [Int],
        configuration: String
    ) -> String {
        let quoted = configuration.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\\22")
        return line(
            "\"stablehlo.custom_call\"(\(operands.joined(separator: ", "))) <{api_version = 2 : i32, backend_config = \"\(quoted)\", "
                + "call_target_name = \"\(target)\", operand_layouts = [\(ranks.map(Self.rowMajor).joined(separator: ", "))], "
                + "result_layouts = [\(layouts.joined(separator: ", "))]}> : "
                + "(\(types.joined(separator: ", "))) -> (\(results.joined(separator: ", ")))", results: results.count)
    }

    /// The call's description in JSON, for q [B, Tq, heads, d] and k [B, Tk, heads, d].
    private static func configuration(_ q: [Int], _ k: [Int], isGradient: Bool) -> String {
        func product(_ name: String, _ contracting: (Int, Int), _ batch: (String, String)) -> String {
            "\"\(name)_dot_dimension_numbers\": {\"lhs_contracting_dimensions\": [\"\(contracting.0)\"], "
                + "\"rhs_contracting_dimensions\": [\"\(contracting.1)\"], \"lhs_batch_dimensions\": [\(batch.0)], "
                + "\"rhs_batch_dimensions\": [\(batch.1)]}"
        }
        let (byToken, byHead) = ("\"0\", \"2\"", "\"0\", \"1\"")
        let products =
            isGradient
            ? [
                product("bmm1_grad_gemm1", (2, 1), (byHead, byToken)), product("bmm1_grad_gemm2", (3, 1), (byHead, byToken)),
                product("bmm2_grad_gemm1", (2, 1), (byHead, byToken)), product("bmm2_grad_gemm2", (3, 3), (byToken, byToken)),
            ] : [product("bmm1", (3, 3), (byToken, byToken)), product("bmm2", (3, 1), (byHead, byToken))]
        let shape =
            "{\"element_type\": \"BF16\", \"dimensions\": [\"\(q[0])\", \"\(q[2])\", \"\(q[1])\", \"\(k[1])\"], \"tuple_shapes\": [], "
            + "\"layout\": {\"dim_level_types\": [], \"dim_unique\": [], \"dim_ordered\": [], "
            + "\"minor_to_major\": [\"3\", \"2\", \"1\", \"0\"], \"tiles\": [], \"element_size_in_bits\": \"0\", \"memory_space\": \"0\", "
            + "\"index_primitive_type\": \"PRIMITIVE_TYPE_INVALID\", \"pointer_primitive_type\": \"PRIMITIVE_TYPE_INVALID\", "
            + "\"dynamic_shape_metadata_prefix_bytes\": \"0\"}, \"is_dynamic_dimension\": [false, false, false, false]}"
        return "{\"operation_queue_id\": \"0\", \"cudnn_fmha_backend_config\": {\"algorithm\": {\"algo_id\": \"0\", "
            + "\"math_type\": \"TENSOR_OP_MATH\", \"tuning_knobs\": {\"17\": \"1\", \"24\": \"0\"}, \"is_cudnn_frontend\": true, "
            + "\"workspace_size\": \"0\"}, \"fmha_scale\": \(1 / Double(q[3]).squareRoot()), \"intermediate_tensor_shape\": \(shape), "
            + "\"is_flash_attention\": true, \"mask_type\": \"NO_MASK\", \(products.joined(separator: ", ")), \"dropout_rate\": 0.0, "
            + "\"seed\": 42, \"sliding_window_length\": 0, \"max_seg_per_batch\": 1, \"is_paged_attention\": false}}"
    }
}
