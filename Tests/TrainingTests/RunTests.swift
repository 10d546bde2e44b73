import Glibc
import MRPData
import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// What a run does beyond its steps: measurements, early stopping, event files, rolling back, the memory limit.
@Suite struct RunTests {
    func options(_ changes: [(String, String)] = []) throws -> Options {
        var options = Options()
        let small = [
            ("image_size", "16"), ("patch_size", "8"), ("width", "32"), ("depth", "1"), ("heads", "2"), ("decoder_width", "16"),
            ("decoder_depth", "1"), ("decoder_heads", "2"), ("epochs", "10"), ("batch_size", "16"), ("threads", "1"), ("seed", "5"),
            ("checkpoint_seconds", "0"), ("warmup_epochs", "0"), ("synthetic_classes", "3"), ("knn_k", "5"),
        ]
        for (key, value) in small + changes { try options.set(key, value) }
        return options
    }

    func images(_ count: Int, _ options: Options, first: Int = 0) throws -> ImageDataset {
        var options = options
        try options.set("synthetic_first_image", String(first))
        return try Datasets.synthetic(count: count, seed: 3, options)
    }

    func start(_ phase: Phase, _ options: Options, measured: Bool = true) throws -> TrainingRun {
        let validation = Validation(
            heldOut: try images(24, options, first: 1_000), reference: phase == .pretrain ? try images(48, options) : nil)
        return try TrainingRun(
            Model(encoder: options.encoder(), seed: 5), images(64, options), options, phase, validation: measured ? validation : nil)
    }

    func finish(_ run: TrainingRun) throws -> [UInt8] {
        while try run.step() == .stepped {}
        let folder = try TemporaryFolder()
        try ModelFile.save(run.trainer.model, to: folder.file("model.safetensors"))
        return try bytes(folder.file("model.safetensors"))
    }

    @Test func measurementsDoNotDisturbTheRunAndItResumesExactly() throws {
        for phase in Phase.allCases {
            let names = phase == .finetune ? ["top1", "top5", "validation_loss"] : ["knn_top1", "probe_top1"]
            let changes = [("validate_epochs", "2"), ("probe", "both"), ("probe_epochs", "5")]
            let plain = try finish(start(phase, options(), measured: false))
            let measured = try start(phase, options(changes))
            #expect(try finish(measured) == plain)
            for name in names { #expect((0...2).contains(measured.progress.value(name) ?? .nan), "\(name)") }
            #expect(measured.progress.value("best") ?? 0 >= measured.progress.value(names[0]) ?? 1)
            #expect(measured.takeNotes().count { $0.level == .info } == 5)
            for cut in [7, 8, 9, 33] {
                let folder = try TemporaryFolder()
                do {
                    let run = try start(phase, options(changes + [("run_folder", folder.path)]))
                    for _ in 0..<cut { _ = try run.step() }
                    try run.suspend()
                }
                let run = try start(phase, options(changes + [("run_folder", folder.path)]))
                #expect(try finish(run) == plain)
                for name in names + ["best", "best_step"] { #expect(run.progress.value(name) == measured.progress.value(name), "\(name)") }
            }
        }
    }

    @Test func aMeasurementThatWasCancelledIsMadeUpFor() throws {
        let run = try start(.finetune, options([("validate_epochs", "0.25")]))
        // Memory, not a variable: the flag is set while the call that reads it runs.
        let memory = try Memory(bytes: 4, zeroed: true, for: "a flag")
        defer { withExtendedLifetime(memory) {} }
        let flag = memory.typed(Int32.self)
        var calls = 0
        // The flag is set while the held-out images are measured: the step counts, the measurement does not.
        while calls < 10_000 {
            calls += 1
            let before = run.progress.step
            let outcome = try run.step(cancel: flag.baseAddress) {
                if run.progress.step > before { flag[0] = 1 }
            }
            if run.progress.step > before, outcome == .cancelled { break }
            flag[0] = 0
            if outcome == .finished { break }
        }
        flag[0] = 0
        let step = run.progress.step
        if run.progress.value("top1") == nil {
            #expect(try run.step(cancel: flag.baseAddress) == .stepped)
            #expect(run.progress.step == step)
        }
        #expect(run.progress.value("top1") != nil)
    }

    @Test func theBestIsKeptAndPatienceEnds() throws {
        let folder = try TemporaryFolder()
        // A constant model (rate 0) never becomes better than at the first measurement.
        let run = try start(
            .finetune, options([("run_folder", folder.path), ("learning_rate", "0"), ("early_stopping", "3"), ("restore_best", "true")]))
        while try run.step() == .stepped {}
        #expect(run.end == .earlyStopping)
        #expect(run.progress.step == 16 && run.progress.value("best_step") == 4)
        #expect(access(folder.file("finetune-best.ckpt"), F_OK) == 0)
        #expect(run.takeNotes().contains { $0.text.contains("stopped after step 16") })

        // Learning: the restored weights are those of the best step.
        let second = try TemporaryFolder()
        let changes = [("run_folder", second.path), ("learning_rate", "0.3"), ("optimizer", "sgd"), ("restore_best", "true")]
        let learning = try start(.finetune, options(changes))
        while try learning.step() == .stepped {}
        let best = try #require(learning.progress.value("best"))
        let final = try Inference(learning.trainer.model, options()).evaluate(images(24, options(), first: 1_000))
        #expect(final?.top1 == best)
    }

    /// Averages of the weights are what is measured, kept and restored, in a folder as in memory, however the run ends.
    @Test(arguments: [true, false], ["2", "0"])
    func theBestOfAveragedWeights(_ hasFolder: Bool, _ patience: String) throws {
        let changes = [
            ("learning_rate", "0.5"), ("optimizer", "sgd"), ("schedule", "constant"), ("ema_decay", "0.6"), ("validate_epochs", "0.5"),
        ]
        // The averages at each measurement, from checkpoints of a run that only goes on.
        let folders = try (0..<3).map { _ in try TemporaryFolder() }
        let follower = try start(.finetune, options(changes))
        var averages: [Int: [Float]] = [:]
        var (best, bestStep, since, ended) = (-1.0, 0, 0, 40)
        while try follower.step() == .stepped {
            let step = follower.progress.step
            guard step % 2 == 0 else { continue }
            try follower.trainer.save(to: folders[0].file("state.ckpt"))
            let file = try SafetensorsFile(path: folders[0].file("state.ckpt"))
            let entry = try #require(file.entries["average/head.weight"])
            var values = [Float](repeating: 0, count: entry.count)
            try values.withUnsafeMutableBufferPointer { try file.read(entry, into: $0) }
            averages[step] = values
            let measured = try #require(follower.progress.value("top1"))
            if measured > best { (best, bestStep, since) = (measured, step, 0) } else { since += 1 }
            if patience == "2", since == 2 {
                ended = step
                break
            }
        }
        try #require(bestStep < ended)
        func weights(_ run: TrainingRun) throws -> [Float] { Array(try #require(run.trainer.model.parameters["head.weight"]).float32) }
        func finished(_ more: [(String, String)], _ folder: TemporaryFolder) throws -> TrainingRun {
            let place = hasFolder ? [("run_folder", folder.path)] : []
            let run = try start(.finetune, options(changes + [("early_stopping", patience)] + more + place))
            while try run.step() == .stepped {}
            #expect(run.progress.step == ended && (run.end == .earlyStopping) == (patience == "2"))
            return run
        }
        #expect(try weights(finished([], folders[1])) == averages[ended])
        let restored = try finished([("restore_best", "true")], folders[2])
        #expect(restored.progress.value("best_step") == Double(bestStep))
        #expect(try weights(restored) == averages[bestStep])
        #expect(try Inference(restored.trainer.model, options()).evaluate(images(24, options(), first: 1_000))?.top1 == best)
        #expect(restored.takeNotes().contains { $0.text == "the model has the weights of step \(bestStep)" })
    }

    @Test func eventFilesHoldWhatTheLogHolds() throws {
        let folder = try TemporaryFolder()
        let changes = [("run_folder", folder.path), ("checkpoint_steps", "10")]
        do {
            let run = try start(.finetune, options(changes))
            for _ in 0..<15 { _ = try run.step() }
        }
        let run = try start(.finetune, options(changes))
        while try run.step() == .stepped {}
        let values = try scalars(folder, .finetune, files: 2)
        let rows = String(decoding: try bytes(folder.file("finetune.csv")), as: UTF8.self).split(separator: "\n").map {
            $0.split(separator: ",", omittingEmptySubsequences: false)
        }
        #expect(rows.count == 41)
        for name in ["loss", "mean_loss", "learning_rate", "top1", "validation_loss", "best"] {
            let column = try #require(rows[0].firstIndex { $0 == name })
            let logged = Dictionary(
                uniqueKeysWithValues: rows.dropFirst().compactMap { row in
                    Int(row[0]).flatMap { step in Double(row[column]).map { (step, Float($0)) } }
                })
            #expect(values["finetune/" + name] == logged, "\(name)")
            #expect(logged.count == (["loss", "mean_loss", "learning_rate"].contains(name) ? 40 : 10))
        }
    }

    @Test func aRunFindsItsWayBackFromInfinity() throws {
        let folder = try TemporaryFolder()
        let changes = [
            ("optimizer", "sgd"), ("learning_rate", "1e12"), ("rollbacks", "3"), ("rollback_factor", "1e-6"), ("rollback_steps", "5"),
            ("schedule", "constant"), ("checkpoint_steps", "1"),
        ]
        let run = try start(.finetune, options(changes + [("run_folder", folder.path)]), measured: false)
        let expected = try finish(run)
        let count = try #require(run.progress.value("rollbacks"))
        #expect(count >= 1 && count <= 3 && run.progress.step == 40)
        let notes = run.takeNotes().filter { $0.text.contains("rolled back") }.map(\.text)
        #expect(notes.count == Int(count) && notes[0].contains("the first bad value is"), "\(notes)")
        #expect(run.progress.learningRate < 1e12)
        // Cut at any step, it ends the same.
        for cut in [1, 2, 6, 20] {
            let other = try TemporaryFolder()
            do {
                let first = try start(.finetune, options(changes + [("run_folder", other.path)]), measured: false)
                for _ in 0..<cut { _ = try first.step() }
            }
            #expect(
                try finish(start(.finetune, options(changes + [("run_folder", other.path)]), measured: false)) == expected, "cut \(cut)")
        }
        let third = try TemporaryFolder()
        let few = changes + [("run_folder", third.path), ("rollbacks", "1"), ("rollback_factor", "1")]
        let error = #expect(throws: MRPError.self) { try finish(start(.finetune, options(few), measured: false)) }
        #expect(error?.code == .numeric)
        // Without a folder the state is in memory: the same turns.
        let remembering = try start(.finetune, options(changes), measured: false)
        #expect(try finish(remembering) == expected)
        #expect(remembering.progress.value("rollbacks") == count)
    }

    /// From a checkpoint that the caller keeps, without a run folder: the way back leads there.
    @Test func aResumedRunRollsBackToWhereItBegan() throws {
        let changes = [("optimizer", "sgd"), ("schedule", "constant"), ("rollback_steps", "1000")]
        let folder = try TemporaryFolder()
        let first = try start(.finetune, options(changes + [("learning_rate", "1e-3")]), measured: false)
        for _ in 0..<7 { _ = try first.step() }
        try first.trainer.save(to: folder.file("run.ckpt"))
        let wild =
            changes + [
                ("learning_rate", "1e12"), ("rollbacks", "9"), ("rollback_factor", "1e-6"),
                ("resume_despite", "learning_rate, rollbacks, rollback_factor"),
            ]
        let run = try start(.finetune, options(wild), measured: false)
        _ = try run.step()
        try run.resume(from: folder.file("run.ckpt"))
        while try run.step() == .stepped {}
        let notes = run.takeNotes().filter { $0.text.contains("rolled back") }.map(\.text)
        #expect(!notes.isEmpty && notes.allSatisfy { $0.contains("rolled back to step 7") }, "\(notes)")

        // So does that of a run folder whose run did not roll back before.
        let place = try TemporaryFolder()
        do {
            let run = try start(.finetune, options(changes + [("learning_rate", "1e-3"), ("run_folder", place.path)]), measured: false)
            for _ in 0..<7 { _ = try run.step() }
            try run.suspend()
        }
        let again = try start(.finetune, options(wild + [("run_folder", place.path)]), measured: false)
        while try again.step() == .stepped {}
        #expect(again.takeNotes().contains { $0.text.contains("rolled back to step 7") })
    }

    @Test func theMemoryLimitNamesTheLargestBatch() throws {
        let wide = [("batch_size", "64"), ("loader_threads", "0")]
        let needed = try start(.pretrain, options(wide), measured: false).trainer.plannedBytes
        let error = #expect(throws: MRPError.self) {
            try start(.pretrain, options(wide + [("memory_limit", String(needed / 2))]), measured: false)
        }
        #expect(error?.code == .memory)
        let text = try #require(error?.message)
        let number = try #require(text.split(separator: "batch_size that fits is ").last?.prefix { $0.isNumber })
        let fits = try #require(Int(number))
        #expect((1..<64).contains(fits), "\(text)")
        let limit = [("memory_limit", String(needed / 2))]
        _ = try start(.pretrain, options(wide + limit + [("batch_size", String(fits))]), measured: false)
        #expect(throws: MRPError.self) { try start(.pretrain, options(wide + limit + [("batch_size", String(fits + 1))]), measured: false) }
        let none = #expect(throws: MRPError.self) { try start(.pretrain, options([("memory_limit", "1000")]), measured: false) }
        #expect(none?.message.contains("batch_size 1 takes") == true)
    }

    @Test func theConfusionAddsUp() throws {
        let options = try options()
        let run = try start(.finetune, options)
        while try run.step() == .stepped {}
        let heldOut = try images(30, options, first: 1_000)
        let result = try #require(try Inference(run.trainer.model, options).evaluate(heldOut, confuses: true))
        #expect(result.classes == 3 && result.confusion.reduce(0, +) == 30)
        let right = (0..<3).reduce(0) { $0 + result.confusion[$1 * 3 + $1] }
        #expect(abs(result.top1 - Double(right) / 30) < 1e-12)
        for label in 0..<3 {  // labels are index % classes
            #expect(result.confusion[label * 3..<label * 3 + 3].reduce(0, +) == 10)
            #expect(abs(result.classAccuracies[label] - Double(result.confusion[label * 3 + label]) / 10) < 1e-12)
        }
        #expect(abs(result.balancedTop1 - result.top1) < 1e-12)  // as many of each
        #expect(result.top5 == 1)  // of three classes
    }
}
