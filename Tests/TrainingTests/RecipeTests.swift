import MRPData
import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining
import Testing

/// What the options of a recipe do to a run: accumulation, averaged weights, stochastic depth, recomputation.
@Suite struct RecipeTests {
    func options(_ changes: [(String, String)]) throws -> Options {
        var options = Options()
        let small = [
            ("image_size", "16"), ("patch_size", "4"), ("width", "32"), ("depth", "3"), ("heads", "2"), ("decoder_width", "16"),
            ("decoder_depth", "1"), ("decoder_heads", "2"), ("epochs", "1"), ("batch_size", "16"), ("threads", "1"), ("seed", "5"),
        ]
        for (key, value) in small + changes { try options.set(key, value) }
        return options
    }

    func trainer(_ phase: Phase, _ changes: [(String, String)]) throws -> Trainer {
        let options = try options(changes)
        let model = try Model(encoder: options.encoder(), seed: 1)
        return try Trainer(model, Datasets.synthetic(count: 64, seed: 3, options), options, phase)
    }

    func values(_ model: Model) -> [String: [Float]] { model.parameters.tensors.mapValues { Array($0.float32) } }

    func largestDifference(_ a: [String: [Float]], _ b: [String: [Float]]) -> Float {
        a.reduce(0) { largest, item in
            zip(item.value, b[item.key] ?? []).reduce(largest) { max($0, abs($1.0 - $1.1)) }
        }
    }

    @Test func accumulatedBatchesAreOneLargeBatch() throws {
        let changes = [("label_smoothing", "0"), ("optimizer", "sgd"), ("learning_rate", "0.1"), ("warmup_epochs", "0")]
        let whole = try trainer(.finetune, changes + [("batch_size", "32"), ("clip_gradient", "0.2")])
        let parts = try trainer(
            .finetune, changes + [("batch_size", "8"), ("accumulation_steps", "4"), ("clip_gradient", "0.2")])
        let start = values(whole.model)
        #expect(whole.progress.steps == 2 && parts.progress.steps == 2)
        for _ in 0..<2 {
            #expect(try whole.step() == .stepped)
            #expect(try parts.step() == .stepped)
            #expect(abs(whole.progress.loss - parts.progress.loss) < 1e-5)
        }
        #expect(try parts.step() == .finished)
        #expect(largestDifference(values(whole.model), start) > 1e-3)
        #expect(largestDifference(values(whole.model), values(parts.model)) < 2e-6)
    }

    /// 64 images are 6 batches of 10: an epoch has one step of 4 of them, and the next epoch begins anew.
    @Test func batchesThatDoNotFillAStepAreLeftOut() throws {
        let trainer = try trainer(.pretrain, [("batch_size", "10"), ("accumulation_steps", "4"), ("epochs", "3")])
        #expect(trainer.progress.steps == 3)
        for epoch in 1...3 {
            #expect(try trainer.step() == .stepped)
            #expect(trainer.progress.epoch == Double(epoch))
        }
        let error = #expect(throws: MRPError.self) {
            _ = try self.trainer(.pretrain, [("batch_size", "32"), ("accumulation_steps", "3")])
        }
        #expect(error?.message == "accumulation_steps 3 x batch_size 32 is above the images: an epoch has 2 batches")
    }

    /// The averages begin as the weights do; the run ends with them.
    @Test func averagedWeights() throws {
        let plain = try trainer(.pretrain, [])
        let averaged = try trainer(.pretrain, [("ema_decay", "0.6")])
        // The teacher's start is what the weights are before the first step, decoder included.
        var expected = values(plain.model)
        for _ in 0..<4 {
            #expect(try plain.step() == .stepped)
            #expect(try averaged.step() == .stepped)
            for (name, weight) in values(plain.model) {
                expected[name] = zip(expected[name] ?? [], weight).map { 0.6 * $0 + 0.4 * $1 }
            }
        }
        #expect(largestDifference(values(averaged.model), expected) < 1e-6)
        #expect(largestDifference(values(averaged.model), values(plain.model)) > 1e-5)
    }

    /// A branch is left out as often as the rate says, and scaled up otherwise; nothing is left out when the model is used.
    @Test func stochasticDepth() throws {
        let path = DropPath(rate: 0.4, blocks: 3)
        #expect([0, 1, 2].map(path.rate) == [0, 0.2, 0.4])
        let graph = Graph()
        let batch = 2_000
        let options = try options([])
        let model = try Model(encoder: options.encoder(), head: ClassifierHead(classes: 3, pooling: .mean), seed: 1)
        let builder = model.builder(graph, training: true, dropPath: path)
        let images = graph.input("images", TensorType([batch, 3, 16, 16]))
        let logits = try #require(model.head).outputs(images, of: model.encoder, builder)
        let program = try CPUProgram(graph, outputs: [logits], state: model.parameters.tensors, compute: Compute())
        try path.fill(program, slice: BatchSlice(whole: batch), seed: 1, step: 0)
        func factors(_ name: String) throws -> [Float]? { try program.withInput(name, as: Float.self) { Array($0) } }
        #expect(try factors("drop_path.0.0") == nil, "a rate of 0 costs nothing")
        for (block, kept) in [(1, 0.8), (2, 0.6)] {
            for branch in 0..<2 {
                let factors = try #require(try factors("drop_path.\(block).\(branch)"))
                #expect(factors.allSatisfy { $0 == 0 || abs(Double($0) - 1 / kept) < 1e-6 })
                #expect(abs(Double(factors.count { $0 > 0 }) / Double(batch) - kept) < 0.05)
            }
        }
        let first = try #require(try factors("drop_path.2.0"))
        try path.fill(program, slice: BatchSlice(whole: batch), seed: 1, step: 1)
        #expect(try factors("drop_path.2.0") != first, "each step draws anew")
        let dropped = try trainer(.pretrain, [("drop_path", "0.5")])
        let whole = try trainer(.pretrain, [])
        #expect(try dropped.step() == .stepped && whole.step() == .stepped)
        #expect(dropped.progress.loss != whole.progress.loss)
    }

    /// The same bits from less memory.
    @Test(arguments: Phase.allCases) func recomputation(_ phase: Phase) throws {
        let kept = try trainer(phase, [("depth", "6"), ("drop_path", "0.1")])
        let again = try trainer(phase, [("depth", "6"), ("drop_path", "0.1"), ("recompute", "true")])
        for _ in 0..<3 {
            #expect(try kept.step() == .stepped && again.step() == .stepped)
            #expect(kept.progress.loss == again.progress.loss)
        }
        #expect(values(kept.model) == values(again.model))
        #expect(again.plannedBytes < kept.plannedBytes)
    }

    /// Blocks of convolutional networks too; the running statistics of their batch norms are those of one pass.
    @Test(arguments: ["resnet18", "resnet50", "convnextv2_atto"], Phase.allCases)
    func recomputationOfConvolutions(_ encoder: String, _ phase: Phase) throws {
        var changes = [("encoder", encoder), ("width", "8"), ("image_size", "32"), ("ema_decay", "0.9"), ("clip_gradient", "1")]
        changes += encoder == "convnextv2_atto" ? [("drop_path", "0.2")] : []
        for stem in ["cifar", "imagenet"] {
            func trainer(_ recompute: String) throws -> Trainer {
                var options = Options()
                let small = [("batch_size", "16"), ("threads", "2"), ("seed", "5"), ("synthetic_classes", "3"), ("decoder_width", "32")]
                let sizes = stem == "imagenet" ? [("stem", stem), ("image_size", "64")] : [("stem", stem)]
                for (key, value) in small + changes + sizes + [("recompute", recompute)] { try options.set(key, value) }
                return try Trainer(
                    Model(encoder: options.encoder(), seed: 5), Datasets.synthetic(count: 32, seed: 3, options), options, phase)
            }
            let (kept, again) = (try trainer("false"), try trainer("true"))
            for _ in 0..<3 {
                #expect(try kept.step() == .stepped && again.step() == .stepped)
                #expect(kept.progress.loss == again.progress.loss)
            }
            #expect(values(kept.model) == values(again.model))
            #expect(again.plannedBytes < kept.plannedBytes)
            let running = values(kept.model).filter { $0.key.contains(".running_mean") }
            #expect(
                running.isEmpty == (encoder == "convnextv2_atto" && phase == .finetune)
                    && running.values.allSatisfy { $0.contains { $0 != 0 } })
        }
    }

    @Test func tokensAreExemptByOption() throws {
        let changes = [("weight_decay", "0.5"), ("learning_rate", "0.1"), ("warmup_epochs", "0")]
        let (mae, other) = (try trainer(.pretrain, changes), try trainer(.pretrain, changes + [("decay_exempt", "mmpretrain")]))
        #expect(try mae.step() == .stepped && other.step() == .stepped)
        let (a, b) = (values(mae.model), values(other.model))
        #expect(a["cls_token"] != b["cls_token"] && a["mask_token"] != b["mask_token"])
        #expect(a["blocks.0.attn.qkv.weight"] == b["blocks.0.attn.qkv.weight"])
    }

    /// mmpretrain's exemption is for every token, whatever its name.
    @Test(arguments: ["mae", "mmpretrain"]) func exemptTokensHaveNoWeightDecay(_ exempt: String) throws {
        func weights(decay: String) throws -> [String: Tensor] {
            let trainer = try trainer(
                .pretrain,
                [
                    ("objective", "simmim"), ("decay_exempt", exempt), ("weight_decay", decay), ("learning_rate", "0.1"),
                    ("warmup_epochs", "0"),
                ])
            #expect(try trainer.step() == .stepped)
            return trainer.model.parameters.tensors
        }
        let (plain, decayed) = (try weights(decay: "0"), try weights(decay: "0.5"))
        func isDecayed(_ name: String) throws -> Bool {
            try Array(#require(plain[name]).float32) != Array(#require(decayed[name]).float32)
        }
        for token in ["cls_token", "simmim.mask_token"] { #expect(try isDecayed(token) == (exempt == "mae"), "\(token)") }
        #expect(try isDecayed("simmim.head.weight") && !isDecayed("simmim.head.bias"))
    }
}
