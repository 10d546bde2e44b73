import MRPData
import MRPEngine
import MRPModels
import MRPTraining
import Testing

/// Nearest neighbours and linear probes on frozen features, of plain images and of augmented views.
@Suite struct ProbeTests {
    let run = RunTests()

    @Test func probesSeeWhatTheFeaturesHold() throws {
        let options = try run.options()
        let model = try Model(encoder: options.encoder(), seed: 5)
        model.normalization = Normalization(mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25])
        // Class 0 dark, 1 middle, 2 bright: a random encoder shows that.
        func levels(_ count: Int, _ start: Int) throws -> ImageDataset {
            var pixels: [UInt8] = []
            for i in 0..<count {
                for p in 0..<3 * 256 { pixels.append(UInt8(20 + 90 * (i % 3) + (i * 7 + start + p * 13) % 30)) }
            }
            return try ArrayDataset(
                pixels: pixels, type: .uint8, layout: .channelsFirst, count: count, channels: 3, size: ImageSize(height: 16, width: 16),
                labels: (0..<count).map { Int32($0 % 3) }, classCount: 3)
        }
        let probe = Probe(Inference(model, options))
        let (known, heldOut) = (try levels(90, 0), try levels(30, 5))
        #expect(try probe.accuracy(.knn, known: known, heldOut: heldOut) == 1)
        #expect(try probe.accuracy(.linear, known: known, heldOut: heldOut) ?? 0 > 0.95)
        // Labels without meaning: chance.
        let noise = try ArrayDataset(
            pixels: (0..<300 * 768).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 13) }, type: .uint8, layout: .channelsFirst,
            count: 300, channels: 3, size: ImageSize(height: 16, width: 16), labels: (0..<300).map { Int32($0 * 7919 % 3) }, classCount: 3)
        let (a, b) = try SubsetDataset.split(noise, count: 200, seed: 1)
        for method in Probe.Method.allCases {
            #expect(abs((try probe.accuracy(method, known: a, heldOut: b) ?? 0) - 1.0 / 3) < 0.2, "\(method)")
        }
        let first = try probe.accuracy(.linear, known: a, heldOut: b)
        #expect(try Probe(Inference(model, run.options([("threads", "3")]))).accuracy(.linear, known: a, heldOut: b) == first)
        // Views that are as the images give the plain features, kept or not; augmented ones do not.
        for views in ["1", "3", "90"] {
            let same = try run.options([("probe_views", views), ("finetune.augmentation", "none"), ("threads", "2")])
            #expect(try Probe(Inference(model, same)).accuracy(.linear, known: a, heldOut: b) == first, "\(views) views")
        }
        #expect(try Probe(Inference(model, run.options([("probe_views", "3")]))).accuracy(.linear, known: a, heldOut: b) != first)
        let error = #expect(throws: MRPError.self) {
            try Probe(Inference(model, run.options([("knn_k", "91")]))).accuracy(.knn, known: known, heldOut: heldOut)
        }
        #expect(error?.message == "knn_k 91 is above the 90 labelled images")
    }

    @Test func viewsAreTrainingsImagesWhateverTheThreads() throws {
        let options = try run.options([("finetune.color_jitter", "0.3"), ("finetune.random_erasing", "0.5")])
        let model = try Model(encoder: options.encoder(), seed: 5)
        model.normalization = Normalization(mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25])
        let images = try run.images(70, options)
        func features(_ view: Int?, _ changes: [(String, String)] = []) throws -> [Float] {
            var options = options
            for (key, value) in changes { try options.set(key, value) }
            var values = [Float](repeating: 0, count: 70 * 32)
            let inference = Inference(model, options)
            #expect(try values.withUnsafeMutableBufferPointer { try inference.encode(images, view: view, into: $0) })
            return values
        }
        let views = try (0..<3).map { try features($0) }
        #expect(try views[0] != views[1] && views[1] != views[2] && features(nil) != views[0])
        for threads in [("1", "0"), ("2", "1"), ("3", "2")] {
            #expect(try features(2, [("threads", threads.0), ("loader_threads", threads.1)]) == views[2])
        }
        #expect(try features(1, [("seed", "6")]) != views[1])
        #expect(try features(1, [("finetune.augmentation", "none")]) != views[1])
    }

    @Test func probesOfViewsAreTheSameForAnyThreads() throws {
        let options = try run.options([("probe_epochs", "7")])
        let model = try Model(encoder: options.encoder(), seed: 5)
        model.normalization = Normalization(mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25])
        let (known, heldOut) = (try run.images(150, options), try run.images(90, options, first: 1_000))
        func accuracy(_ views: String, threads: String) throws -> Double {
            let changed = try run.options([("probe_epochs", "7"), ("probe_views", views), ("threads", threads)])
            return try #require(try Probe(Inference(model, changed)).accuracy(.linear, known: known, heldOut: heldOut))
        }
        for views in ["3", "7"] {
            let first = try accuracy(views, threads: "1")
            #expect(try accuracy(views, threads: "3") == first)
            #expect(first > 0.34)  // of three classes
        }
        // More views than epochs are as many as epochs.
        #expect(try accuracy("50", threads: "1") == accuracy("7", threads: "2"))
        // Cancelled in a later view: no answer.
        let flag = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
        defer { flag.deallocate() }
        flag.pointee = 0
        var calls = 0
        let inference = Inference(model, try run.options([("probe_epochs", "7"), ("probe_views", "7")]), cancel: flag) {
            calls += 1
            if calls == 4 { flag.pointee = 1 }
        }
        #expect(try Probe(inference).accuracy(.linear, known: known, heldOut: heldOut) == nil)
    }
}
