import Glibc
import MRPData
import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// Images whose reading cancels what reads them, once after each `arm`.
private final class CancellingDataset: ImageDataset {
    let base: ImageDataset
    let flag: UnsafeMutablePointer<Int32>
    private var isArmed = false
    var count: Int { base.count }
    var channels: Int { base.channels }
    var imageSize: ImageSize? { base.imageSize }
    var classNames: [String] { base.classNames }
    var labels: UnsafeBufferPointer<Int32>? { base.labels }

    init(_ base: ImageDataset, _ flag: UnsafeMutablePointer<Int32>) { (self.base, self.flag) = (base, flag) }

    func arm() { isArmed = true }

    /// Without loader threads this is called by one thread.
    func load(_ index: Int, into workspace: ImageWorkspace) throws {
        try base.load(index, into: workspace)
        if isArmed { flag.pointee = 1 }
        isArmed = false
    }
}

/// Suspended runs: the logs hold each step once, whatever stopped the run and wherever.
extension RunTests {
    /// The scalars of the event files by tag and step, as TensorBoard reads them; each step is there once.
    func scalars(_ folder: TemporaryFolder, _ phase: Phase, files: Int? = nil) throws -> [String: [Int: Float]] {
        let names = try folder.names(in: phase.rawValue)
        if let files { #expect(names.count == files) }
        var values: [String: [Int: Float]] = [:]
        for name in names {
            #expect(name.hasPrefix("events.out.tfevents."))
            let events = try EventReader.read(bytes(folder.file("\(phase.rawValue)/\(name)")))
            #expect(events.first?.version == "brain.Event:2")
            if let start = events.first(where: \.startsSession)?.step {
                for tag in values.keys { values[tag] = values[tag]?.filter { $0.key < start } }
            }
            for event in events {
                for (tag, value) in event.values {
                    #expect(values[tag]?[event.step] == nil, "\(tag) of step \(event.step) is there twice")
                    values[tag, default: [:]][event.step] = value
                }
            }
        }
        return values
    }

    /// The rows of a log without what depends on time.
    func rows(_ folder: TemporaryFolder, _ phase: Phase) throws -> [[Substring]] {
        try String(decoding: bytes(folder.file("\(phase.rawValue).csv")), as: UTF8.self).split(whereSeparator: \.isNewline).map { line in
            let row = line.split(separator: ",", omittingEmptySubsequences: false)
            return Array(row[..<5] + row[7...])
        }
    }

    /// A run that is suspended while the held-out images are measured keeps the step; the measurement and the rows of the logs follow.
    @Test(arguments: Phase.allCases) func aRunIsSuspendedWithinAMeasurement(_ phase: Phase) throws {
        let changes = [("validate_epochs", "0.5"), ("early_stopping", "30"), ("loader_threads", "0")]
        let (whole, folder) = (try TemporaryFolder(), try TemporaryFolder())
        let expected = try finish(start(phase, options(changes + [("run_folder", whole.path)])))
        let flag = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
        flag.initialize(to: 0)
        defer { flag.deallocate() }
        let together = try options(changes + [("run_folder", folder.path)])
        let heldOut = CancellingDataset(try images(24, together, first: 1_000), flag)
        let validation = Validation(heldOut: heldOut, reference: phase == .pretrain ? try images(48, together) : nil)
        func begin() throws -> TrainingRun {
            try TrainingRun(
                Model(encoder: together.encoder(), seed: 5), images(64, together), together, phase, validation: validation)
        }
        var run: TrainingRun? = try begin()
        var suspensions = 0
        /// One step; the step where the run was suspended. In a function of its own, so that nothing else holds the run when it is let go.
        func suspend(_ now: TrainingRun) throws -> Int? {
            let step = now.progress.step + 1
            if step % 4 == 0 { heldOut.arm() }  // every second measurement
            guard try now.step(cancel: flag) == .cancelled else { return nil }
            flag.pointee = 0
            #expect(now.progress.step == step)
            try now.suspend()
            #expect(now.end == .suspended)
            return step
        }
        while run?.end != .finished {
            guard let step = try run.flatMap({ try suspend($0) }) else { continue }
            suspensions += 1
            guard suspensions % 3 != 0 else { continue }  // the same run goes on
            run = nil
            run = try begin()
            #expect(run?.progress.step == step && run?.end == nil)
            #expect(try run?.step(cancel: flag) == .stepped)  // the measurement alone
            #expect(run?.progress.step == step)
        }
        #expect(suspensions == 10)
        let last = try #require(run)
        #expect(try finish(last) == expected)
        #expect(try rows(folder, phase) == rows(whole, phase))
        let (found, wanted) = (try scalars(folder, phase), try scalars(whole, phase))
        for (tag, values) in wanted where !tag.hasSuffix("seconds") && !tag.hasSuffix("per_second") {
            #expect(found[tag] == values, "\(tag)")
        }
    }

    /// The loss is that of the last step also in a run that goes on, and one that has nothing left to do says so before any step.
    @Test func aRunGoesOnWithItsValues() throws {
        let folder = try TemporaryFolder()
        let together = try options([("run_folder", folder.path), ("restore_best", "true")])
        var loss = Double.nan
        do {
            let run = try start(.finetune, together)
            for _ in 0..<7 { _ = try run.step() }
            try run.suspend()
            loss = run.progress.loss
        }
        do {
            let run = try start(.finetune, together)
            #expect(run.end == nil && run.progress.loss == loss && run.progress.meanLoss.isFinite && run.progress.learningRate > 0)
            _ = try finish(run)
            #expect(run.end == .finished)
            loss = run.progress.loss
        }
        let run = try start(.finetune, together)
        #expect(run.end == .finished && run.progress.loss == loss)
        #expect(try run.step() == .finished)
    }

    /// Rows that a power cut tore, rows of later steps, and line ends of another system.
    @Test func theLogIsMendedWhenARunGoesOn() throws {
        let folder = try TemporaryFolder()
        let together = try options([("run_folder", folder.path), ("checkpoint_steps", "10")])
        do {
            let run = try start(.finetune, together, measured: false)
            for _ in 0..<14 { _ = try run.step() }
        }
        var text = String(decoding: try bytes(folder.file("finetune.csv")), as: UTF8.self).replacing("\n", with: "\r\n")
        text += "15,0.2\r\n1"
        try folder.write("finetune.csv", Array(text.utf8))
        let run = try start(.finetune, together, measured: false)
        #expect(run.progress.step == 10)
        _ = try finish(run)
        #expect(try rows(folder, .finetune).dropFirst().map { $0[0] } == (1...40).map { Substring(String($0)) })
        let mended = try bytes(folder.file("finetune.csv"))
        #expect(mended.filter { $0 == 13 }.count == 41 && mended.filter { $0 == 10 }.count == 41, "the line ends stay")
    }

    /// A log of a version with other columns keeps them; what is no log is left alone, and a pipe does not hold the run up.
    @Test func theLogMayHaveOtherColumns() throws {
        let folder = try TemporaryFolder()
        let together = try options([("run_folder", folder.path), ("checkpoint_steps", "10"), ("epochs", "5")])
        do {
            let run = try start(.finetune, together, measured: false)
            for _ in 0..<10 { _ = try run.step() }
        }
        let columns = try bytes(folder.file("finetune.csv")).prefix { $0 != UInt8(ascii: "\n") }.count { $0 == UInt8(ascii: ",") } + 1
        let other = "step,weather,loss\n" + (1...10).map { "\($0),sun,\($0).5\n" }.joined()
        try folder.write("finetune.csv", Array(other.utf8))
        try finishAndLetGo(together)
        let rows = String(decoding: try bytes(folder.file("finetune.csv")), as: UTF8.self).split(separator: "\n").map {
            $0.split(separator: ",", omittingEmptySubsequences: false)
        }
        #expect(rows.count == 21 && Set(rows.map(\.count)) == [columns + 1], "\(rows)")
        #expect(rows[0].prefix(4) == ["step", "weather", "loss", "epoch"] && rows[10].prefix(4) == ["10", "sun", "10.5", ""])
        #expect(rows[11][0] == "11" && rows[11][1].isEmpty && Double(rows[11][2]) != nil)
        for place in ["novel", "pipe"] {
            unlink(folder.file("finetune.csv"))
            if place == "pipe" {
                mkfifo(folder.file("finetune.csv"), 0o600)
            } else {
                try folder.write("finetune.csv", Array("Call me Ishmael.\n".utf8))
            }
            let model = try Model(encoder: together.encoder(), seed: 5)
            let before = model.parameters["cls_token"].map { Array($0.float32) }
            let error = #expect(throws: MRPError.self) { try TrainingRun(model, images(64, together), together, .finetune) }
            #expect(error?.code == (place == "pipe" ? .io : .state), "\(error?.message ?? "")")
            #expect(model.parameters["cls_token"].map { Array($0.float32) } == before)
        }
    }

    func finishAndLetGo(_ options: Options) throws { _ = try finish(start(.finetune, options, measured: false)) }

    /// What a run writes after it went back replaces what it wrote before.
    @Test func theLogsOfARunThatRolledBackHoldEachStepOnce() throws {
        let folder = try TemporaryFolder()
        let changes = [
            ("optimizer", "sgd"), ("learning_rate", "1e12"), ("rollbacks", "3"), ("rollback_factor", "1e-6"), ("rollback_steps", "5"),
            ("schedule", "constant"),
        ]
        let run = try start(.finetune, options(changes + [("run_folder", folder.path)]), measured: false)
        _ = try finish(run)
        #expect(run.takeNotes().contains { $0.level == .warning && $0.text.contains("rolled back") })
        #expect(try rows(folder, .finetune).dropFirst().map { $0[0] } == (1...40).map { Substring(String($0)) })
        #expect(try scalars(folder, .finetune)["finetune/loss"]?.count == 40)
    }
}
