import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// Mixtures of experts: layers against PyTorch (tools/fixtures/make_expert_fixtures.py), and what holds of whole models.
@Suite struct ExpertTests {
    // MARK: Layers

    /// Name, gate, and whether images are routed, or experts choose.
    static let layers: [(String, Gates.Kind, Mixture.Routing)] = [
        ("token_unit", .unit, .token), ("token_probability", .score, .token), ("expert_choice_probability", .score, .expertChoice),
        ("expert_choice_selected", .selected, .expertChoice), ("cluster_unit", .unit, .cluster),
    ]

    @Test(arguments: layers) func pytorch(_ name: String, _ gate: Gates.Kind, _ routing: Mixture.Routing) throws {
        let (fixture, graph, experts) = (try Fixture(name, in: "experts"), Graph(), 4)
        var state: [String: Tensor] = [:]
        func real(_ name: String) throws -> Value {
            let shape = try #require(fixture.file.entries[name]).shape
            let tensor = try Tensor(shape)
            _ = tensor.float32.update(fromContentsOf: try fixture.values(name))
            state[name] = tensor
            return graph.bound(name, tensor.type)
        }
        let x = try real("x")
        let logits = try graph.apply(MatrixProduct(transposeB: true), [routing == .cluster ? real("images") : x, real("gate")])[0]
        let p = try graph.apply(SoftmaxRows(), [logits])[0]
        let scores = gate == .selected ? logits : p
        let route =
            switch routing {
            case .token: try graph.routeToOne(scores)
            case .cluster: try graph.routeToOne(scores, tokens: graph.shape(of: x)[1])
            case .expertChoice: try graph.routeToMany(scores, capacity: 2, first: 1)
            }
        func product(_ layer: String, _ x: Value, _ activation: MatrixProduct.Activation) throws -> Value {
            let weights = try ["weight", "bias"].flatMap { kind in try (0..<experts).map { try real("\($0).\(layer).\(kind)") as Value? } }
            return try graph.apply(ExpertProduct(experts: experts, activation: activation), [x, route.offsets, nil] + weights)[0]
        }
        let gates = try graph.gates(gate, scores, route)
        let rows = try product("fc2", product("fc1", graph.dispatch(x, route), .gelu), .none)
        let output = try graph.combine(rows, route, gates: gates, shape: Array(graph.shape(of: x).dropLast()), residual: x)
        let terms = try [
            Loss("distance", graph.apply(MeanSquaredError(), [output, real("target")])[0]),
            Loss("balance", graph.apply(BalanceLoss(), [p])[0], weight: 0.7),
            Loss("entropy", graph.apply(EntropyLoss(), [p])[0], weight: 0.3),
        ]
        let loss = try Loss.total(terms, in: graph)
        let wanted = fixture.keys("d:")
        let gradients = try graph.gradients(of: loss, withRespectTo: wanted.compactMap { graph.boundValue($0) })
        let program = try CPUBackend(Compute()).compile(
            graph, outputs: [output, loss] + terms.map(\.value) + gradients.values, state: state)
        try program.run()
        #expect(deviation(try program.reals(output), try fixture.values("output")) < 1e-5)
        #expect(deviation(try program.reals(loss), try fixture.values("loss")) < 1e-5)
        #expect(deviation(try program.reals(terms[1].value), try fixture.values("balance")) < 1e-5)
        #expect(deviation(try program.reals(terms[2].value), try fixture.values("entropy")) < 1e-5)
        #expect(wanted.count == gradients.count)
        for name in wanted {
            let gradient = try #require(graph.boundValue(name).flatMap { gradients[$0] })
            #expect(deviation(try program.reals(gradient), try fixture.values("d:" + name)) < 1e-5, "\(name)")
        }
    }

    /// The largest shares are kept in rising order; of equal scores the first come first. An expert without rows has a gradient of zeros.
    @Test func choices() throws {
        let graph = Graph()
        let scores = try Tensor([1, 5, 2])
        _ = scores.float32.update(fromContentsOf: [9, 9, 1, 2, 1, 2, 3, 2, 1, 2])
        let value = graph.bound("scores", scores.type)
        let (many, one) = (try graph.routeToMany(value, capacity: 2, first: 1), try graph.routeToOne(value))
        let outputs = [many.sources, many.offsets, one.sources, one.places, one.offsets]
        let program = try CPUBackend(Compute()).compile(graph, outputs: outputs, state: ["scores": scores])
        try program.run()
        let found = try outputs.map { try program.withOutput($0, as: Int32.self) { Array($0) } }
        #expect(found == [[1, 3, 1, 2], [0, 2, 4], [0, 3, 1, 2, 4], [0, 2, 3, 1, 4], [0, 2, 5]])
    }

    // MARK: Models

    static func options(_ changes: [(String, String)] = []) throws -> Options {
        var options = Options()
        let small = [
            ("image_size", "16"), ("patch_size", "4"), ("width", "16"), ("depth", "4"), ("heads", "2"), ("decoder_width", "16"),
            ("decoder_depth", "1"), ("decoder_heads", "2"), ("epochs", "2"), ("batch_size", "16"), ("threads", "1"), ("seed", "5"),
            ("moe_clusters", "6"), ("augmentation", "flip"),
        ]
        for (key, value) in small + changes { try options.set(key, value) }
        return options
    }

    static func images(_ options: Options, count: Int = 64) throws -> any ImageDataset {
        try Datasets.synthetic(count: count, seed: 3, options)
    }

    static func train(_ phase: Phase, _ options: Options, _ model: Model) throws {
        let trainer = try Trainer(model, images(options), options, phase)
        while try trainer.step() == .stepped {}
    }

    /// Each routing, with what else changes the graph.
    static let routings: [[(String, String)]] = [
        [("moe_routing", "token"), ("moe_experts", "3"), ("moe_spacing", "2"), ("recompute", "true"), ("optimizer", "lamb")],
        [
            ("moe_routing", "expert_choice"), ("moe_experts", "2"), ("moe_gate", "selected"), ("drop_path", "0.3"),
            ("accumulation_steps", "2"), ("batch_size", "8"),
        ],
        [("moe_routing", "cluster"), ("moe_experts", "3"), ("recompute", "true"), ("drop_path", "0.2"), ("accumulation_steps", "2")],
    ]

    /// A mixture before its training: upcycled where it is routed by clusters.
    static func mixture(_ options: Options) throws -> Model {
        guard options[MixtureOptions.routing] == .cluster else { return try Model(encoder: options.encoder(), seed: options.seed) }
        var plain = options
        try plain.set("moe_experts", "0")
        let dense = try Model(encoder: plain.encoder(), seed: options.seed)
        try train(.pretrain, plain, dense)
        return try Upcycling.mixture(of: dense, images(options), options)
    }

    /// The same bits for any number of threads; a run that goes on from a checkpoint in the middle of an epoch ends with the same bytes; a file
    /// gives the same model.
    @Test(arguments: routings) func sameBits(_ changes: [(String, String)]) throws {
        let (folder, options) = (try TemporaryFolder(), try Self.options(changes))
        let start = try Self.mixture(options)
        let model = try start.copy()
        try Self.train(.pretrain, options, model)
        try ModelFile.save(model, to: folder.file("whole.safetensors"))
        let expected = try bytes(folder.file("whole.safetensors"))

        let first = try Trainer(start.copy(), Self.images(options), options, .pretrain)
        for _ in 0..<3 { _ = try first.step() }
        try first.save(to: folder.file("run.ckpt"))
        let resumed = try start.copy()
        let second = try Trainer(resumed, Self.images(options), Self.options(changes + [("threads", "3")]), .pretrain)
        try second.resume(from: folder.file("run.ckpt"))
        while try second.step() == .stepped {}
        try ModelFile.save(resumed, to: folder.file("resumed.safetensors"))
        #expect(try bytes(folder.file("resumed.safetensors")) == expected)

        let read = try ModelFile.load(folder.file("whole.safetensors"))
        #expect(read.mixture == model.mixture)
        #expect(try Self.features(read, options) == Self.features(model, options))
        // Something was learned by the experts and the router.
        let names = model.parameters.specifications.map(\.name).filter {
            $0.hasSuffix(".weight") && ($0.contains(".experts.") || $0.contains("gate"))
        }
        let moved = try names.filter {
            Array(try #require(start.parameters[$0]).float32) != Array(try #require(model.parameters[$0]).float32)
        }
        #expect(moved.count == names.count)
    }

    static func features(_ model: Model, _ options: Options) throws -> [Float] {
        let inference = Inference(model, options)
        let images = try images(options, count: 20)
        var result = [Float](repeating: 0, count: 20 * (try inference.featureCount()))
        try result.withUnsafeMutableBufferPointer { _ = try inference.encode(images, into: $0) }
        return result
    }

    /// A mixture begins as the dense model; an extracted expert is the mixture with all images sent to it; its file is one of a plain network.
    @Test func upcyclingAndExtraction() throws {
        let (folder, options) = (try TemporaryFolder(), try Self.options(Self.routings[2]))
        var plain = options
        try plain.set("moe_experts", "0")
        let (dense, images) = (try Model(encoder: plain.encoder(), seed: 1), try Self.images(options))
        try Self.train(.pretrain, plain, dense)
        let mixture = try Upcycling.mixture(of: dense, images, options)
        for (own, other) in zip(try Self.features(mixture, options), try Self.features(dense, options)) { #expect(abs(own - other) < 1e-5) }
        let losses = try [dense, mixture].map { try #require(try Inference($0, options).reconstruct(images, into: .init())) }
        #expect(abs(losses[0] - losses[1]) < 1e-6)

        try Self.train(.pretrain, options, mixture)
        let suitability = try #require(try Upcycling.suitability(Inference(mixture, options), images, counts: true, losses: true))
        #expect(suitability.counts.reduce(0, +) == images.count)
        for expert in 0..<3 {
            let alone = try Upcycling.extracted(mixture, expert: expert)
            #expect(try Inference(alone, options).reconstruct(images, into: .init()) == suitability.losses[expert])
            try ModelFile.save(alone, to: folder.file("alone.safetensors"))
            let read = try ModelFile.load(folder.file("alone.safetensors"))
            #expect(read.mixture == nil && read.parameters.specifications == alone.parameters.specifications)
        }
        try Self.train(.finetune, Self.options([("epochs", "1")]), Upcycling.extracted(mixture, expert: 0))
        try Self.train(.finetune, Self.options(Self.routings[2] + [("epochs", "1")]), mixture)
    }

    /// Clusters are those of the images without augmentation: the input of a step is the same in every epoch.
    @Test(arguments: ["simmim", "data2vec", "teacher_student"]) func otherObjectives(_ objective: String) throws {
        let options = try Self.options(Self.routings[2] + [("objective", objective), ("epochs", "1"), ("accumulation_steps", "1")])
        try Self.train(.pretrain, options, Self.mixture(Self.options(Self.routings[2])))
    }

    @Test func errors() throws {
        func fails(_ code: MRPError.Code, _ text: String, _ body: () throws -> Void) {
            let error = #expect(throws: MRPError.self) { try body() }
            #expect(error?.code == code && error?.message.contains(text) == true, "\(error?.message ?? "") is not '\(text)'")
        }
        func encoder(_ changes: [(String, String)]) throws { _ = try Self.options(changes).encoder() }
        fails(.argument, "moe_capacity 0 is outside") { _ = try Self.options([("moe_capacity", "0")]) }
        fails(.argument, "moe_capacity 5.0 is outside (0, 4]") { try encoder([("moe_experts", "4"), ("moe_capacity", "5")]) }
        fails(.argument, "moe_experts 1 is outside 2 ... 256") { try encoder([("moe_experts", "1")]) }
        fails(.argument, "moe_blocks 3 with moe_spacing 2") {
            try encoder([("moe_experts", "2"), ("moe_blocks", "3"), ("moe_spacing", "2")])
        }
        fails(.argument, "moe_gate selected does not go with moe_routing token") {
            try encoder([("moe_experts", "2"), ("moe_gate", "selected")])
        }
        fails(.argument, "moe_routing cluster needs a pretrained model") {
            try encoder([("moe_experts", "2"), ("moe_routing", "cluster")])
        }
        fails(.unsupported, "a residual network has no experts") { try encoder([("moe_experts", "2"), ("encoder", "resnet18")]) }

        let (folder, options) = (try TemporaryFolder(), try Self.options([("moe_experts", "2"), ("moe_clusters", "4")]))
        let model = try Model(encoder: options.encoder(), seed: 1)
        var timm = options
        try timm.set("names", "timm")
        fails(.unsupported, "extract an expert first") { try ModelFile.save(model, to: folder.file("a.safetensors"), timm) }
        fails(.unsupported, "extract an expert first") { try OnnxExport.write(model, to: folder.file("a.onnx"), options) }
        let dense = try Upcycling.extracted(model, expert: 1)
        fails(.argument, "expert 2 is outside 0 ... 1") { _ = try Upcycling.extracted(model, expert: 2) }
        fails(.state, "the model has no experts") { _ = try Upcycling.extracted(dense, expert: 0) }
        fails(.state, "has experts already") { _ = try Upcycling.mixture(of: model, nil, options) }
        fails(.argument, "needs images to cluster") { _ = try Upcycling.mixture(of: dense, nil, options) }
        fails(.argument, "clusters 4 is outside 1 ... 3") { _ = try Upcycling.mixture(of: dense, Self.images(options, count: 3), options) }
        fails(.state, "images are counted with moe_routing cluster") {
            _ = try Upcycling.suitability(Inference(model, options), Self.images(options), counts: true, losses: false)
        }
        var small = options
        try small.set("batch_size", "1")
        let mixture = try Upcycling.mixture(of: dense, Self.images(options), options)
        fails(.argument, "moe_experts 2 is over the batch of 1 images") {
            _ = try Trainer(mixture, Self.images(options), small, .pretrain)
        }
    }
}
