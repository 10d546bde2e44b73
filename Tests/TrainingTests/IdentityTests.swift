import Glibc
import MRPData
import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// A run is its options, its data and its network: what goes on from a checkpoint is the same run, or is refused by name.
@Suite struct IdentityTests {
    func options(_ changes: [(String, String)] = []) throws -> Options {
        var options = Options()
        let small = [
            ("image_size", "8"), ("patch_size", "4"), ("width", "16"), ("depth", "1"), ("heads", "2"), ("decoder_width", "8"),
            ("decoder_depth", "1"), ("decoder_heads", "2"), ("epochs", "2"), ("batch_size", "8"), ("threads", "1"), ("seed", "5"),
            ("checkpoint_steps", "1"), ("checkpoint_seconds", "0"), ("tensorboard", "false"), ("keep_checkpoints", "5"),
        ]
        for (key, value) in small + changes { try options.set(key, value) }
        return options
    }

    /// 16 images; `change` is added to a pixel of the last one.
    func images(_ change: UInt8 = 0, labels change2: Int32 = 0, names: [String] = ["a", "b"], count: Int = 16) throws -> ArrayDataset {
        var pixels = (0..<count * 192).map { UInt8(truncatingIfNeeded: $0 &* $0 &* 31 &+ $0) }
        pixels[count * 192 - 1] &+= change
        var labels = (0..<count).map { Int32($0 % 2) }
        labels[3] = (labels[3] + change2) % 2
        return try ArrayDataset(
            pixels: pixels, type: .uint8, layout: .channelsFirst, count: count, channels: 3, size: ImageSize(height: 8, width: 8),
            labels: labels, classNames: names)
    }

    func start(
        _ phase: Phase = .pretrain, _ changes: [(String, String)] = [], on dataset: ImageDataset? = nil, model: Model? = nil
    ) throws -> TrainingRun {
        let options = try options(changes)
        return try TrainingRun(
            model ?? Model(encoder: options.encoder(), seed: options.seed), dataset ?? images(), options, phase)
    }

    func weights(_ run: TrainingRun) throws -> [Float] {
        while try run.step() == .stepped {}
        let names = run.trainer.model.parameters.tensors.keys.sorted()
        return names.flatMap { run.trainer.model.parameters[$0].map { Array($0.float32) } ?? [] }
    }

    func refusal(_ body: () throws -> Void) -> String {
        let error = #expect(throws: MRPError.self) { try body() }
        #expect(error?.code == .state, "\(error?.message ?? "")")
        return error?.message ?? ""
    }

    /// Each difference is named with both values, and the checkpoint stays as it is.
    @Test func aFolderRefusesAnotherRun() throws {
        for (phase, cases) in [
            Phase.pretrain: [
                ("learning_rate", "0.1", "learning_rate auto, now 0.1"), ("mask_ratio", "0.5", "mask_ratio auto, now 0.5"),
                ("norm_pix_loss", "false", "norm_pix_loss true, now false"), ("optimizer", "sgd", "optimizer adamw, now sgd"),
                ("depth", "2", "num_hidden_layers 1, now 2"), ("decoder_width", "16", "decoder_width 8, now 16"),
                ("pretrain.epochs", "3", "epochs 2, now 3"), ("batch_size", "4", "batch_size 8, now 4"), ("seed", "6", "seed 5, now 6"),
                ("instructions", "baseline", "instructions "), ("objective", "simmim", "objective mae, now simmim"),
                ("mean", "0.5,0.5,0.5", "mean "), ("layer_norm_eps", "1e-3", "layer_norm_eps 1e-06, now 0.001"),
            ],
            .finetune: [
                ("label_smoothing", "0", "label_smoothing 0.1, now 0"), ("pooling", "cls", "pooling mean, now cls"),
                ("mixup", "0.5", "mixup 0, now 0.5"), ("finetune.augmentation", "none", "augmentation auto, now none"),
                ("head_deviation", "0.5", "head_deviation auto, now 0.5"),
            ],
        ] {
            let folder = try TemporaryFolder()
            let place = ("run_folder", folder.path)
            let expected = try weights(start(phase, [place]))
            let before = try folder.names()
            for (key, value, words) in cases where !(key == "instructions" && Compute.Instructions.best == .baseline) {
                let text = refusal { _ = try start(phase, [place, (key, value)]) }
                #expect(text.contains(words), "\(text)")
                #expect(text.contains("resume_despite=") && !text.contains("initial_weights") && !text.contains("\n"), "\(text)")
            }
            let others = [
                (try images(1), "images 16 x 3 x 8 x 8 ("), (try images(count: 18), "now 18 x 3 x 8 x 8 ("),
                (try images(labels: 1), "labels "), (try images(names: ["a", "c"]), "class_names a, b, now a, c"),
            ]
            for (dataset, words) in others.prefix(phase == .pretrain ? 2 : 4) {
                let text = refusal { _ = try start(phase, [place], on: dataset) }
                #expect(text.contains(words) && !text.contains("; mean "), "\(text)")
            }
            let trained = try Model(encoder: options().encoder(), seed: 5)
            trained.parameters["cls_token"]?.float32[0] += 1
            #expect(refusal { _ = try start(phase, [place], model: trained) }.contains("initial_weights "))
            #expect(try folder.names() == before)
            // What changes no number is no difference; nor is another spelling.
            let same = [("threads", "2"), ("loader_threads", "0"), ("recompute", "true"), ("keep_checkpoints", "2"), ("epochs", "2.0")]
            let again = try start(phase, [place] + same)
            #expect(again.end == .finished && again.progress.loss.isFinite)
            #expect(try weights(again) == expected)
            #expect(again.takeNotes().count { $0.text.hasPrefix("goes on from") } == 1)
        }
    }

    /// Named differences are accepted; no others.
    @Test func aRunGoesOnInSpiteOfNamedDifferences() throws {
        let folder = try TemporaryFolder()
        let place = ("run_folder", folder.path)
        _ = try weights(start(.pretrain, [place]))
        let longer = [place, ("epochs", "4"), ("learning_rate", "1e-4")]
        #expect(refusal { _ = try start(.pretrain, longer + [("resume_despite", "epochs")]) }.contains("learning_rate auto, now 0.0001"))
        func goOn() throws {
            let run = try start(.pretrain, longer + [("resume_despite", "learning_rate,epochs")])
            #expect(run.progress.step == 4 && run.progress.steps == 8 && run.end == nil)
            let notes = run.takeNotes()
            #expect(notes.map(\.text).contains("goes on in spite of epochs 2, now 4"), "\(notes)")
            _ = try weights(run)
        }
        try goOn()
        #expect(try start(.pretrain, longer).end == .finished)
        #expect(refusal { _ = try start(.pretrain, [place, ("resume_despite", "epochs,learning_rate")]) }.contains("this run has 4 steps"))
        let deeper = longer + [("depth", "2"), ("resume_despite", "num_hidden_layers")]
        #expect(refusal { _ = try start(.pretrain, deeper) }.contains("'blocks.1."))
    }

    /// A model that goes on in the process that trained it is known again, though its weights are no longer the first ones.
    @Test func theSameModelGoesOn() throws {
        let folder = try TemporaryFolder()
        let place = ("run_folder", folder.path)
        let expected = try weights(start())
        let model = try Model(encoder: options().encoder(), seed: 5)
        do {
            let run = try start(.pretrain, [place], model: model)
            for _ in 0..<2 { _ = try run.step() }
            try run.suspend()
        }
        #expect(try weights(start(.pretrain, [place], model: model)) == expected)
        #expect(try weights(start(.pretrain, [place], model: model)) == expected)
    }

    /// The file that a caller names: the same run, whatever weights the model has now; a refusal changes nothing.
    @Test func aNamedFileIsComparedToo() throws {
        let folder = try TemporaryFolder()
        let expected = try weights(start())
        let run = try start()
        for _ in 0..<2 { _ = try run.step() }
        try run.save(to: folder.file("run.ckpt"))
        let fresh = try start(.pretrain, [], model: Model(encoder: options().encoder(), seed: 77))
        try fresh.resume(from: folder.file("run.ckpt"))
        #expect(try weights(fresh) == expected)
        for (changes, dataset) in [([("learning_rate", "0.1")], try images()), ([], try images(1)), ([("width", "32")], try images())] {
            let other = try start(.pretrain, changes, on: dataset)
            let before = try #require(other.trainer.model.parameters["cls_token"]).float32[0]
            #expect(refusal { try other.resume(from: folder.file("run.ckpt")) }.contains("of another run"))
            #expect(other.trainer.model.parameters["cls_token"]?.float32[0] == before && other.progress.step == 0)
        }
    }

    /// A subset and an array of the same images are the same data; of many images those at even distances count.
    @Test func dataAreKnownByTheirContents() throws {
        let (all, other) = (try images(), try images(1))
        let (plain, changed) = (try ContentDigest(all), try ContentDigest(other))
        #expect(plain.images != changed.images && plain.labels == changed.labels && plain.masks == nil)
        let order = try SubsetDataset(all, indices: [Int](0..<16))
        let ordered = try ContentDigest(order)
        #expect(ordered.images == plain.images && ordered.labels == plain.labels)
        #expect(try ContentDigest(SubsetDataset(all, indices: [1, 0] + [Int](2..<16))).images != plain.images)
    }

    // MARK: Files that are damaged, old or made by hand

    /// A checkpoint with another state, its checksum mended.
    func rewrite(_ path: String, to target: String, _ change: (String) -> String) throws {
        let bytes = try bytes(path)
        let length = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        let header = change(String(decoding: bytes[8..<8 + length], as: UTF8.self))
        let size = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
        var file = size + Array(header.utf8) + bytes[(8 + length)...].dropLast(4)
        let checksum = file.withUnsafeBytes { crc32c($0) }
        file += withUnsafeBytes(of: checksum.littleEndian) { Array($0) }
        try file.withUnsafeBytes { try FileSystem.replace(target, with: [$0]) }
    }

    func crc32c(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        ~bytes.reduce(~UInt32(0)) { crc, byte in
            (0..<8).reduce(crc ^ UInt32(byte)) { value, _ in value >> 1 ^ (value & 1 == 1 ? 0x82F6_3B78 : 0) }
        }
    }

    @Test func statesThatNoRunComesToAreRefusedAndChangeNothing() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("run.ckpt"), bad = folder.file("bad.ckpt")
        let run = try start()
        for _ in 0..<2 { _ = try run.step() }
        try run.save(to: path)
        func number(_ key: String, _ value: String) -> (String) -> String {
            { $0.replacing(try! Regex("\\\\\"\(key)\\\\\":[-0-9.e]+"), with: "\\\"\(key)\\\":\(value)") }
        }
        let cases: [(MRPError.Code, String, (String) -> String)] = [
            (.format, "epoch_steps 9223372036854775807", number("epoch_steps", "9223372036854775807")),
            (.format, "step 4611686018427387904", number("step", "4611686018427387904")), (.format, "step 9 ", number("step", "9")),
            (.format, "without_better", number("without_better", "9223372036854775807")),
            (.format, "rollbacks", number("rollbacks", "-9223372036854775808")), (.format, "rate_scale", number("rate_scale", "1e300")),
            (
                .format, "I32 for 'norm.weight'",
                { $0.replacing("\"norm.weight\":{\"dtype\":\"F32\"", with: "\"norm.weight\":{\"dtype\":\"I32\"") }
            ),
            (.format, "identity is missing", { $0.replacing("\\\"identity\\\"", with: "\\\"identify\\\"") }),
            (.version, "version 4", { $0.replacing("checkpoint\":\"3\"", with: "checkpoint\":\"4\"") }),
        ]
        let other = try start()
        _ = try other.step()
        let before = other.trainer.model.parameters.tensors.mapValues { Array($0.float32) }
        for (code, words, change) in cases {
            try rewrite(path, to: bad, change)
            let error = #expect(throws: MRPError.self) { try other.resume(from: bad) }
            #expect(error?.code == code && error?.message.contains(words) == true, "\(words): \(error?.message ?? "none")")
            #expect(other.trainer.model.parameters.tensors.mapValues { Array($0.float32) } == before && other.progress.step == 1)
        }
        try rewrite(path, to: bad) { $0 }
        try other.resume(from: bad)
        #expect(other.progress.step == 2)
    }

    /// Version 2 did not note the run: what it did note is compared, and the log says so.
    @Test func aCheckpointOfVersion2GoesOn() throws {
        let (folder, old) = (try TemporaryFolder(), try TemporaryFolder())
        let expected = try weights(start(.pretrain, [("run_folder", folder.path)]))
        let name = "pretrain-00000002.ckpt"
        try rewrite(folder.file(name), to: old.file(name)) {
            $0.replacing("checkpoint\":\"3\"", with: "checkpoint\":\"2\"").replacing("\\\"identity\\\"", with: "\\\"something\\\"")
        }
        let run = try start(.pretrain, [("run_folder", old.path)])
        #expect(run.progress.step == 2 && run.takeNotes().first?.text.contains("older version") == true)
        #expect(try weights(run) == expected)
        _ = refusal { _ = try start(.pretrain, [("run_folder", old.path), ("epochs", "3")]) }
    }

    /// Damage is set aside once the run goes on; without a whole checkpoint nothing is done.
    @Test func aFolderWithoutAWholeCheckpointIsRefused() throws {
        let folder = try TemporaryFolder()
        let place = ("run_folder", folder.path)
        _ = try weights(start(.pretrain, [place]))
        let names = try folder.names().filter { $0.hasSuffix(".ckpt") }
        let last = try #require(names.last)
        let whole = try bytes(folder.file(last))
        func damage(_ names: [String]) throws {
            for name in names { try folder.write(name, Array(bytes(folder.file(name)).dropLast())) }
        }
        try damage([last])
        try folder.write(last + ".damaged", [1, 2, 3])
        #expect(try start(.pretrain, [place]).progress.step == 3)
        #expect(try bytes(folder.file(last + ".damaged")) == [1, 2, 3])
        #expect(try bytes(folder.file(last + ".damaged-2")) == whole.dropLast())
        try damage(Array(names.dropLast()))
        let before = try folder.names()
        #expect(refusal { _ = try start(.pretrain, [place]) }.contains("no checkpoint that is whole"))
        #expect(try folder.names() == before)
        // Something whole that is no checkpoint is left alone too.
        try ModelFile.save(Model(encoder: options().encoder(), seed: 5), to: folder.file("pretrain-00000009.ckpt"))
        let error = #expect(throws: MRPError.self) { try start(.pretrain, [place]) }
        #expect(error?.code == .format && access(folder.file("pretrain-00000009.ckpt"), F_OK) == 0)
    }
}
