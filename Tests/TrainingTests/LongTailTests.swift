import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// Losses for long tails: formulas, ProCo against its definition in PyTorch (tools/fixtures/make_proco_fixture.py), exact resume, refusals.
@Suite struct LongTailTests {
    private func options(_ changes: [String: String]) throws -> Options {
        var options = Options()
        let small = [
            "image_size": "16", "patch_size": "4", "width": "16", "depth": "1", "heads": "2", "epochs": "3", "batch_size": "6",
            "threads": "1",
            "proco_width": "16", "seed": "5",
        ]
        for (key, value) in small.merging(changes, uniquingKeysWith: { $1 }) { try options.set(key, value) }
        return options
    }

    /// 20 images of three classes: 12, 6 and 2.
    private func images(_ options: Options) throws -> ImageDataset {
        let all = try Datasets.synthetic(count: 40, seed: 3, options)
        var counts = [Int](repeating: 0, count: all.classCount)
        counts.replaceSubrange(0..<3, with: [4, 3, 2])
        return try SubsetDataset.selected(all, counts: counts, seed: 1)
    }

    private func request(_ changes: [String: String], counts: [Double]) throws -> LossRequest {
        try LossRequest(
            options: options(changes), classes: counts.count, labels: nil,
            frequencies: ClassFrequencies(counts: counts, classes: counts.count))
    }

    // MARK: Formulas

    /// Value of a loss of fixed scores, and its gradient.
    private func evaluate(_ loss: any ClassificationLoss, labels: [Int32], shares: [Double]?) throws -> (loss: Double, gradient: [Double]) {
        let graph = Graph()
        let scores = try Tensor([3, 3], precision: .float64)
        for index in 0..<9 { scores[index] = [1, -0.5, 0.25, 0, 2, -1, 0.5, 0.5, 3][index] }
        let logits = graph.bound("logits", scores.type)
        let value: Value
        if shares == nil {
            value = try loss.loss(logits, labels: Inputs.labels(graph, batch: 3), in: graph)
        } else {
            value = try loss.loss(logits, shares: graph.input("shares", TensorType([3, 3])), in: graph)
        }
        let gradient = try #require(try graph.gradients(of: value, withRespectTo: [logits])[logits])
        let program = try CPUProgram(
            graph, outputs: [value, gradient], state: ["logits": scores], compute: Compute(precision: .float64))
        try program.write(labels, to: Inputs.labelsName)
        if let shares { try program.write(reals: shares, to: "shares") }
        let single = (shares ?? []).map { Float($0) }
        try labels.withUnsafeBufferPointer { labels in
            try single.withUnsafeBufferPointer { try loss.prepare(labels: labels, shares: shares == nil ? nil : $0, program) }
        }
        try program.run()
        return (try program.scalar(value), try program.reals(gradient))
    }

    /// torch.nn.functional.cross_entropy(x + log([.5, .25, .25]), y) and cross_entropy(x, y, weight=N / (C n)), with their gradients.
    @Test func lossesAreTorchs() throws {
        let labels: [Int32] = [0, 2, 1]
        let none = ["label_smoothing": "0"]
        let adjusted = try evaluate(
            Losses.registry.entry("logit_adjusted").make(request(none, counts: [8, 4, 4])), labels: labels, shares: nil)
        // The classes' log shares are a float32 constant of the graph.
        #expect(abs(adjusted.loss - LongTailFigures.adjusted) < 1e-9)
        #expect(zip(adjusted.gradient, LongTailFigures.adjustedGradient).allSatisfy { abs($0 - $1) < 1e-9 })
        let balanced = try evaluate(Losses.registry.entry("balanced").make(request(none, counts: [8, 4, 4])), labels: labels, shares: nil)
        #expect(abs(balanced.loss - LongTailFigures.balanced) < 1e-12)
        #expect(zip(balanced.gradient, LongTailFigures.balancedGradient).allSatisfy { abs($0 - $1) < 1e-12 })
        // Shares that are labels give the same.
        let shares = labels.flatMap { label in (0..<3).map { Double($0 == Int(label) ? 1 : 0) } }
        for name in ["logit_adjusted", "balanced"] {
            let loss = try Losses.registry.entry(name).make(request(none, counts: [8, 4, 4]))
            let (hard, soft) = (
                try evaluate(loss, labels: labels, shares: nil), try evaluate(loss, labels: labels, shares: shares)
            )
            #expect(abs(hard.loss - soft.loss) < 1e-12)
        }
    }

    @Test func classesWithoutImagesAreRefused() throws {
        for name in ["balanced", "logit_adjusted", "proco"] {
            for (counts, text) in [([3.0, 0, 2], "class 1 has none"), ([3.0, 1], "3 outputs")] {
                let request = LossRequest(
                    options: try options([:]), classes: 3, labels: nil, frequencies: ClassFrequencies(counts: counts, classes: 3))
                let error = #expect(throws: MRPError.self) { _ = try Losses.registry.entry(name).make(request) }
                #expect(error?.code == .argument && error?.message.contains(text) == true, "\(String(describing: error))")
            }
        }
        #expect(throws: MRPError.self) { try options(["proco_width": "8"]) }
        for changes in [["mixup": "0.2"], ["frozen_encoder": "true"]] {
            let options = try options(changes.merging(["loss": "proco", "synthetic_classes": "3"]) { $1 })
            let error = #expect(throws: MRPError.self) {
                _ = try Trainer(
                    Model(encoder: options.encoder(), seed: 1), Datasets.synthetic(count: 12, seed: 1, options), options, .finetune)
            }
            #expect(error?.message.contains("loss proco") == true)
        }
    }

    // MARK: ProCo

    @Test(arguments: ["16", "64", "64_unbiased"]) func procoIsItsDefinition(_ name: String) throws {
        let file = try SafetensorsFile(path: Fixture.folder + "proco.safetensors")
        func values(_ key: String) throws -> [Float] {
            let entry = try #require(file.entries["\(name)/\(key)"])
            var result = [Float](repeating: 0, count: entry.count)
            try result.withUnsafeMutableBufferPointer { try file.read(entry, into: $0) }
            return result
        }
        let unbiased = name.hasSuffix("unbiased")
        let loss = try #require(
            try Losses.registry.entry("proco").make(
                request(
                    ["proco_width": unbiased ? "64" : name, "proco_temperature": "0.2", "proco_unbiased": "\(unbiased)"],
                    counts: [9, 4, 2, 1])
            ).featureLoss)
        let companions = Parameters()
        try companions.add(loss.parameters(featureWidth: 6), seed: 1)
        for (key, tensor) in companions.tensors {
            let short = String(key.dropFirst("proco.".count))
            if file.entries["\(name)/weights/\(short)"] != nil { _ = tensor.float32.update(from: try values("weights/" + short)) }
            if key.hasSuffix("initial_means") || key.hasSuffix("fresh_means") { _ = tensor.float32.update(from: try values("initial")) }
        }
        let graph = Graph()
        let features = graph.input("features", TensorType([10, 6]))
        let builder = NetworkBuilder(graph, Parameters(), epsilon: 1e-6, training: true, companions: companions.specifications)
        let value = try loss.loss(features, labels: graph.input("labels", TensorType([5], .int32)), batch: 5, builder)
        let gradient = try #require(try graph.gradients(of: value, withRespectTo: [features])[features])
        for (precision, tolerance) in [(Precision.float64, 2e-6), (.float32, 1e-5)] {
            let state = try companions.copies(precision: precision)
            let program = try CPUProgram(graph, outputs: [value, gradient], state: state, compute: Compute(precision: precision))
            for step in 0..<6 {
                try program.write(reals: values("\(step)/features"), to: "features")
                try program.write(values("\(step)/labels").map { Int32($0) }, to: "labels")
                try loss.prepare(
                    TrainingStep(
                        slice: BatchSlice(whole: 5), seed: 0, step: step, indices: UnsafeBufferPointer(start: nil, count: 0),
                        labels: UnsafeBufferPointer(start: nil, count: 0), startsEpoch: step % 3 == 0), program)
                try program.run()
                #expect(try abs(program.scalar(value) - Double(values("\(step)/loss")[0])) < tolerance * 2, "\(precision) \(step)")
                #expect(try deviation(program.reals(gradient), values("\(step)/gradient")) < tolerance, "\(precision) \(step)")
            }
            let (means, counts) = try (#require(state["proco.old_means"]), #require(state["proco.old_counts"]))
            #expect(try deviation((0..<means.count).map { means[$0] }, values("old_means")) < tolerance)
            #expect(try (0..<4).map { Float(counts[$0]) } == values("old_counts"))
        }
    }

    /// A run that stops in the middle of an epoch and goes on ends with the same weights, whatever the threads; its model has no trace of the head.
    @Test func procoGoesOnExactly() throws {
        let folder = try TemporaryFolder()
        func run(_ threads: String, stopAfter: Int?) throws -> [Float] {
            let options = try options([
                "loss": "proco", "threads": threads, "batch_size": "4", "class_counts": "4,3,2", "synthetic_classes": "3",
                "drop_path": "0.1",
                "views": "2",
            ])
            let all = try Datasets.synthetic(count: 30, seed: 3, options)
            let data = try SubsetDataset.selected(all, counts: [4, 3, 2], seed: 1)
            var model = try Model(encoder: options.encoder(), seed: 2)
            var trainer = try Trainer(model, data, options, .finetune)
            if let stopAfter {
                for _ in 0..<stopAfter { _ = try trainer.step() }
                try trainer.save(to: folder.file("run.ckpt"))
                model = try Model(encoder: options.encoder(), seed: 9)
                trainer = try Trainer(model, data, options, .finetune)
                try trainer.resume(from: folder.file("run.ckpt"))
            }
            while try trainer.step() == .stepped {}
            #expect(!model.parameters.specifications.contains { $0.name.hasPrefix("proco") })
            return try withExtendedLifetime(trainer) {
                try model.parameters.specifications.flatMap { try Array(#require(model.parameters[$0.name]).float32) }
            }
        }
        let whole = try run("1", stopAfter: nil)
        #expect(try run("3", stopAfter: nil) == whole)
        #expect(try run("1", stopAfter: 3) == whole)
    }

    // MARK: Data and predictions

    @Test func balancedSamplerShowsClassesAlike() throws {
        let options = try options(["synthetic_classes": "3"])
        let data = try SubsetDataset.selected(Datasets.synthetic(count: 60, seed: 3, options), counts: [20, 8, 2], seed: 1)
        let labels = try #require(data.labels)
        var orders: [[Int64]] = []
        for epoch in [0, 1, 0] {
            var order = [Int64](repeating: -1, count: data.count)
            try order.withUnsafeMutableBufferPointer {
                try ClassBalancedSampler().writeOrder(of: data, seed: 4, epoch: epoch, into: $0)
            }
            var seen = [Int](repeating: 0, count: 3)
            for image in order { seen[Int(labels[Int(image)])] += 1 }
            #expect(seen == [10, 10, 10])
            #expect(Set(order.filter { labels[Int($0)] == 2 }).count == 2)
            #expect(Set(order.filter { labels[Int($0)] == 0 }).count == 10)
            orders.append(order)
        }
        #expect(orders[0] == orders[2] && orders[0] != orders[1])
    }

    @Test func selectionsAreNested() throws {
        let all = try Datasets.synthetic(count: 40, seed: 3, options(["synthetic_classes": "4"]))
        let (large, small) = (
            try SubsetDataset.selected(all, counts: [9, 5, 3, 0], seed: 7), try SubsetDataset.selected(all, counts: [4, 5, 1, 0], seed: 7)
        )
        #expect(large.count == 17 && small.count == 10 && Set(small.indices).isSubset(of: Set(large.indices)))
        #expect(try Set(SubsetDataset.selected(all, counts: [4, 5, 1, 0], seed: 8).indices) != Set(small.indices))
    }

    /// Of scores that contain the prior, prior uniform divides by it; the file keeps what it needs.
    @Test func uniformPriorDividesByTheShares() throws {
        let folder = try TemporaryFolder()
        let options = try options(["synthetic_classes": "3", "epochs": "1"])
        let data = try SubsetDataset.selected(Datasets.synthetic(count: 30, seed: 3, options), counts: [8, 4, 2], seed: 1)
        let model = try Model(encoder: options.encoder(), seed: 2)
        let trainer = try Trainer(model, data, options, .finetune)
        while try trainer.step() == .stepped {}
        try ModelFile.save(model, to: folder.file("model.safetensors"))
        let loaded = try ModelFile.load(folder.file("model.safetensors"))
        #expect(loaded.classPrior == ClassPrior(counts: [8, 4, 2], exponent: 1))
        func predict(_ model: Model, _ options: Options) throws -> [Float] {
            var result = [Float](repeating: 0, count: data.count * 3)
            try result.withUnsafeMutableBufferPointer { try #expect(Inference(model, options).predict(data, into: $0)) }
            return result
        }
        var uniform = options
        try uniform.set("prior", "uniform")
        let (plain, adjusted) = (try predict(model, options), try predict(loaded, uniform))
        for image in 0..<data.count {
            let shares = zip(plain[image * 3..<image * 3 + 3], [Float(4), 2, 1]).map { $0 / $1 }
            let sum = shares.reduce(0, +)
            for label in 0..<3 { #expect(abs(adjusted[image * 3 + label] - shares[label] / sum) < 1e-5) }
        }
        loaded.classPrior = nil
        let error = #expect(throws: MRPError.self) { _ = try predict(loaded, uniform) }
        #expect(error?.code == .state && error?.message.contains("set class_counts") == true)
        try uniform.set("class_counts", "8,4,2")
        #expect(try predict(loaded, uniform) == adjusted)
    }
}
