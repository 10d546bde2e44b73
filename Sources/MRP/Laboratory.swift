// # 7. Laboratory
//
// The experiment of the paper that explains why mask-reconstruction pretraining helps (arXiv 2206.03826): a two-layer network on data
// with two discriminative features per class, pretrained without labels and fine-tuned, against supervised learning. A run measures what
// the paper's theorems claim, with controls beside them: it shows the mechanism at finite size and proves nothing. Every quantity is an
// option with the paper's symbol (mrp_lab_describe). Same options, same bits, whatever the number of threads. Two more experiments have the
// same form, by their presets: "hierarchical" (fine against coarse labels, arXiv 2410.23129) and "patch_routing" (experts that see few
// patches, arXiv 2306.04073).

import CMRPKernels
import CMRPTypes
import MRPEngine
import MRPLab
import MRPOptions

final class LabHandle: CancellableHandle {
    override class var kind: String { "lab" }
    var options: LabOptions

    init(_ options: LabOptions) throws {
        self.options = options
        super.init(try CancelFlag())
    }
}

final class LabReportHandle: Handle {
    override class var kind: String { "lab report" }
    let report: LabReport
    /// The rows of the table.
    let rows: [LabReport.Summary]

    init(_ report: LabReport) {
        self.report = report
        rows = report.summaries
    }

    func row(_ number: Int64) throws -> Int { try index(number, below: rows.count, "row") }

    /// nil for -1, which stands for all seeds.
    func seed(_ index: Int64) throws -> Int? {
        guard index >= -1, index < Int64(report.seeds.count) else {
            throw MRPError(.argument, "seed \(index) is outside 0 ..< \(report.seeds.count), and not -1 for all")
        }
        return index < 0 ? nil : Int(index)
    }
}

extension LabProgress: ReadableProgress {}

private struct StudyProgress: ReadableProgress {
    let rows, all: Int
    let phase = "study"
    var fraction: Double { Double(rows) / Double(all) }
    func value(_ name: String) -> Double? { name == "step" ? Double(rows) : name == "steps" ? Double(all) : nil }
}

/// Runs the body while nobody else uses the laboratory. The body reports where it stands; the answer tells whether to go on.
private func runLab(
    _ lab: UnsafeMutablePointer<mrp_lab>?, _ function: mrp_progress_fn?, _ user: UnsafeMutableRawPointer?,
    _ body: (LabHandle, @escaping (any ReadableProgress) -> Bool) throws -> Void
) throws {
    try Registry.exclusively(lab, LabHandle.self) { handle in
        let progress = try PublishedProgress(LabProgress())
        do {
            try body(handle) {
                obeyInterrupt(handle.cancelFlag)
                guard let function else { return true }
                progress.show($0)
                return function(progress.pointer, user) == 0
            }
        } catch is LabCancelled { throw Cancelled() }
    }
}

/// Sets up a laboratory: the options of a preset, or the defaults. The preset also says which experiment is run.
///
/// - Parameters:
///   - preset: a name that mrp_lab_describe lists, such as "multiview" or "hierarchical"; NULL for the first experiment's defaults.
///   - out: receives the handle.
/// - Errors: MRP_ERR_ARGUMENT (unknown preset: the text lists all; `out` is NULL), MRP_ERR_MEMORY.
///
/// Since 0.1.
@_cdecl("mrp_lab_create")
public func mrp_lab_create(_ preset: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_lab>?>?) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        let options = try preset == nil ? LabOptions() : LabOptions(preset: string(preset, "preset"))
        out.pointee = try Registry.add(LabHandle(options), as: mrp_lab.self)
    }
}

/// Sets one option. On an error nothing changes.
///
/// - Parameters:
///   - key: the option, or the paper's symbol for it: "noise" and "sigma_p" are the same.
///   - value: its value as text.
/// - Errors: MRP_ERR_ARGUMENT (unknown option: the text names the nearest one; an option of another preset: the text names both; value outside
///   its limits: the text names symbol, value and limits; NULL), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_lab_set")
public func mrp_lab_set(_ lab: UnsafeMutablePointer<mrp_lab>?, _ key: UnsafePointer<CChar>?, _ value: UnsafePointer<CChar>?) -> mrp_status {
    boundary { try Registry.exclusively(lab, LabHandle.self) { try $0.options.set(string(key, "key"), string(value, "value")) } }
}

/// Reads one option: what was set, or its default.
///
/// - Parameters:
///   - key: the option, or its symbol.
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (unknown option, an option of another preset, buffer too small), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_lab_get")
public func mrp_lab_get(
    _ lab: UnsafePointer<mrp_lab>?, _ key: UnsafePointer<CChar>?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64,
    _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let text = try Registry.exclusively(lab, LabHandle.self) { try $0.options.text(string(key, "key")) }
        try write(text, buffer, capacity, needed)
    }
}

/// Describes all options and presets as JSON; the options of section "hierarchical" and "patch_routing" belong to these presets alone: {"options": [{"key", "symbol", "type", "default", "limits", "section", "summary"}, ...],
/// "presets": [{"name", "summary", "values"}, ...]}.
///
/// - Parameters:
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (buffer too small).
///
/// Since 0.1.
@_cdecl("mrp_lab_describe")
public func mrp_lab_describe(_ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64, _ needed: UnsafeMutablePointer<Int64>?)
    -> mrp_status
{
    boundary { try write(OptionTable.laboratory.describe().text(), buffer, capacity, needed) }
}

/// Runs the experiment: for every seed all its arms and controls (of the first: pretraining, fine-tuning, the supervised baseline); then judges
/// the claims. A run that diverges is a result, not an error.
///
/// - Parameters:
///   - callback: called after each step; NULL for none.
///   - user: passed to the callback.
///   - out: receives the report.
/// - Returns: MRP_CANCELLED when the callback or mrp_lab_cancel stopped the run; there is no report then.
/// - Errors: MRP_ERR_ARGUMENT (options that do not fit each other; NULL), MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED (this machine lacks the
///   wanted instructions), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_lab_run")
public func mrp_lab_run(
    _ lab: UnsafeMutablePointer<mrp_lab>?, _ callback: mrp_progress_fn?, _ user: UnsafeMutableRawPointer?,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_lab_report>?>?
) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        try runLab(lab, callback, user) { handle, tell in
            let report = try Laboratory.run(handle.options, cancel: handle.cancelFlag) { tell($0) }
            out.pointee = try Registry.add(LabReportHandle(report), as: mrp_lab_report.self)
        }
    }
}

/// Sweeps one or two options, with the seeds that the options "seeds" and "first_seed" name in every cell, without controls; cells run in
/// parallel. One row per cell and seed is appended to a CSV file, in the order of the grid. Called again with the same arguments it goes on
/// where it was stopped, and ends with the same file.
///
/// - Parameters:
///   - axes: the options with their values, such as "tau=1.05,1.1,1.15; theta=0.3,0.4,0.5".
///   - path: the CSV file; made when it is not there.
///   - callback: called after each group of cells with the finished rows as "step" and all rows as "steps"; NULL for none.
///   - user: passed to the callback.
/// - Returns: MRP_CANCELLED when the callback or mrp_lab_cancel stopped it; the rows that were finished stay in the file.
/// - Errors: MRP_ERR_ARGUMENT (axes that cannot be read, an unknown option, a value outside its limits or that does not fit the others;
///   NULL), MRP_ERR_IO (the file cannot be read or written), MRP_ERR_FORMAT (the file is another one, or another study's; it is
///   left as it is), MRP_ERR_STATE (another study writes the file), MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, as for mrp_lab_run, MRP_ERR_HANDLE,
///   MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_lab_study")
public func mrp_lab_study(
    _ lab: UnsafeMutablePointer<mrp_lab>?, _ axes: UnsafePointer<CChar>?, _ path: UnsafePointer<CChar>?, _ callback: mrp_progress_fn?,
    _ user: UnsafeMutableRawPointer?
) -> mrp_status {
    boundary {
        let (axes, path) = (try string(axes, "axes"), try string(path, "path"))
        try runLab(lab, callback, user) { handle, tell in
            let study = try Study(handle.options, axes: Study.Axis.parse(axes))
            let isFinished = try study.run(path: path, cancel: handle.cancelFlag) { tell(StudyProgress(rows: $0, all: $1)) }
            if !isFinished { throw Cancelled() }
        }
    }
}

/// Stops the run or the study of a laboratory, from any thread: it returns MRP_CANCELLED soon.
///
/// - Returns: MRP_OK when one was running, MRP_DONE when none was.
/// - Errors: MRP_ERR_ARGUMENT (NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_lab_cancel")
public func mrp_lab_cancel(_ lab: UnsafeMutablePointer<mrp_lab>?) -> mrp_status {
    cancel(lab, LabHandle.self)
}

private func distribution(_ lab: UnsafePointer<mrp_lab>?, _ seed: UInt64) throws -> PatchDistribution {
    guard let seed = Int(exactly: seed) else { throw MRPError(.argument, "seed \(seed) is above \(Int.max)") }
    return try PatchDistribution(Registry.exclusively(lab, LabHandle.self) { $0.options }, seed: seed)
}

/// Draws samples of the data of the experiment, with where each patch came from: sample i of a seed is the same whenever it is drawn. Arrays
/// that are NULL are left out.
///
/// - Parameters:
///   - seed: fixes the features and the samples; that of a run gives the run's features, and samples which the run does not use.
///   - kind: "multi_view", "single_view", or "mixed" (single-view with probability mu); of "hierarchical" "easy", "hard" or "mixed" (half of
///     each); of "patch_routing" "mixed".
///   - first: number of the first sample.
///   - count: how many samples.
///   - patches: receives count x P x d values.
///   - capacity: elements in `patches`.
///   - labels: receives the class of each sample.
///   - single_view: receives for each sample 1 for single-view or hard, 0 for multi-view or easy.
///   - shown_view: receives for each sample the view (0 or 1) that a single-view sample shows, or -1; the subclass; the patch that tells.
///   - origins: receives count x P numbers: the feature that a patch carries, a row of mrp_lab_features, or -1.
///   - origins_capacity: elements in `origins`.
/// - Errors: MRP_ERR_ARGUMENT (options that do not fit each other, unknown kind, a number out of range, too small, NULL), MRP_ERR_MEMORY,
///   MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_lab_samples")
public func mrp_lab_samples(
    _ lab: UnsafePointer<mrp_lab>?, _ seed: UInt64, _ kind: UnsafePointer<CChar>?, _ first: Int64, _ count: Int64,
    _ patches: UnsafeMutablePointer<Float>?, _ capacity: Int64, _ labels: UnsafeMutablePointer<Int32>?,
    _ single_view: UnsafeMutablePointer<Int32>?, _ shown_view: UnsafeMutablePointer<Int32>?, _ origins: UnsafeMutablePointer<Int32>?,
    _ origins_capacity: Int64
) -> mrp_status {
    boundary {
        let name = try string(kind, "kind")
        let distribution = try distribution(lab, seed)
        let kinds = PatchDistribution.Kind.names(distribution.options.experiment)
        guard let kind = kinds.first(where: { $0.name == name })?.kind else {
            throw MRPError(.argument, "kind '\(name)' is not one of: \(kinds.map(\.name).joined(separator: ", "))")
        }
        let (first, count) = (try size(first, "first"), try size(count, "count"))
        try PatchSamples.check(first: first, count: count)
        let numbers = try checkedProduct([count, distribution.options.patches])
        let values = try checkedProduct([numbers, distribution.options.dimension], bytesEach: 4)
        if patches != nil { _ = try output(patches, capacity: capacity, needed: values, "patches") }
        if origins != nil { _ = try output(origins, capacity: origins_capacity, needed: numbers, "origins") }
        try PatchSamples.write(
            distribution, kind: kind, first: first, count: count, x: patches, labels: labels, isSingleView: single_view,
            shownView: shown_view, origin: origins)
    }
}

/// Copies the features of a seed: 2 k orthonormal vectors of length d; feature 2 class + view belongs to that class. Of "hierarchical"
/// 2 + 2 k_s orthonormal ones, the common feature of each class and then feature 2 + class k_s + subclass; of "patch_routing" 2 + p unit
/// vectors, the patterns that tell the classes and then the centres of the others.
///
/// - Parameters:
///   - seed: which features.
///   - features: receives the vectors; NULL with a capacity of 0 asks for the count only.
///   - capacity: elements in `features`.
///   - count: receives the number of elements; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (options that do not fit each other, a number out of range, too small, NULL), MRP_ERR_MEMORY,
///   MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_lab_features")
public func mrp_lab_features(
    _ lab: UnsafePointer<mrp_lab>?, _ seed: UInt64, _ features: UnsafeMutablePointer<Double>?, _ capacity: Int64,
    _ count: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let distribution = try distribution(lab, seed)
        count?.pointee = Int64(distribution.features.count)
        if features == nil, capacity == 0 { return }
        _ = try output(features, capacity: capacity, needed: distribution.features.count, "features").update(
            fromContentsOf: distribution.features)
    }
}

/// Destroys a laboratory; its reports stay. NULL is allowed.
///
/// Since 0.1.
@_cdecl("mrp_lab_destroy")
public func mrp_lab_destroy(_ lab: UnsafeMutablePointer<mrp_lab>?) {
    Registry.remove(lab)
}

/// Tells what a report holds; each pointer may be NULL.
///
/// - Parameters:
///   - rows: receives the number of rows of the table: a claim has one row per measured quantity; then come the controls.
///   - seeds: receives the number of seeds.
///   - claims_hold: receives 1 when every claim holds over the seeds that were run, else 0.
///   - controls_hold: receives 1 when every control behaves as expected (or none was run), else 0.
/// - Errors: MRP_ERR_ARGUMENT (report is NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_lab_report_summary")
public func mrp_lab_report_summary(
    _ report: UnsafePointer<mrp_lab_report>?, _ rows: UnsafeMutablePointer<Int64>?, _ seeds: UnsafeMutablePointer<Int64>?,
    _ claims_hold: UnsafeMutablePointer<Int32>?, _ controls_hold: UnsafeMutablePointer<Int32>?
) -> mrp_status {
    boundary {
        let handle = try Registry.find(report, LabReportHandle.self)
        rows?.pointee = Int64(handle.rows.count)
        seeds?.pointee = Int64(handle.report.seeds.count)
        claims_hold?.pointee = handle.report.claimsHold ? 1 : 0
        controls_hold?.pointee = handle.report.controlsHold ? 1 : 0
    }
}

/// Reads the numbers of one row of the table; each pointer may be NULL.
///
/// - Parameters:
///   - row: the row, from 0.
///   - seed: counts the seeds from 0; -1 for all: the mean, and the verdict over all.
///   - measured: receives what was measured; NaN when there was nothing to measure, which never holds.
///   - low: receives the least value that is allowed; -INFINITY without such a limit.
///   - high: receives the greatest value that is allowed; INFINITY without such a limit.
///   - holds: receives 1 when the value is allowed, else 0. Over all seeds: on every one; for a claim of the mean or of a share of seeds (its
///     threshold says so), unless these seeds contradict it at the 1 % level.
///   - is_control: receives 1 for a control, 0 for a claim.
/// - Errors: MRP_ERR_ARGUMENT (no such row or seed, report is NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_lab_report_row")
public func mrp_lab_report_row(
    _ report: UnsafePointer<mrp_lab_report>?, _ row: Int64, _ seed: Int64, _ measured: UnsafeMutablePointer<Double>?,
    _ low: UnsafeMutablePointer<Double>?, _ high: UnsafeMutablePointer<Double>?, _ holds: UnsafeMutablePointer<Int32>?,
    _ is_control: UnsafeMutablePointer<Int32>?
) -> mrp_status {
    boundary {
        let handle = try Registry.find(report, LabReportHandle.self)
        let row = try handle.row(row)
        let summary = handle.rows[row]
        let check = try handle.seed(seed).map { handle.report.seeds[$0].checks[row] }
        measured?.pointee = check?.measured ?? summary.mean
        low?.pointee = summary.threshold.limits.low
        high?.pointee = summary.threshold.limits.high
        holds?.pointee = (check?.holds ?? summary.holds) ? 1 : 0
        is_control?.pointee = summary.isControl ? 1 : 0
    }
}

/// Reads a text of one row of the table.
///
/// - Parameters:
///   - row: the row, from 0.
///   - what: "claim" (its name, such as "all_semantics_captured"), "statement" (what the paper states, in a sentence), "quantity" (what is
///     measured) or "threshold" (its limits in words).
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (no such row or text, buffer too small, NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_lab_report_row_text")
public func mrp_lab_report_row_text(
    _ report: UnsafePointer<mrp_lab_report>?, _ row: Int64, _ what: UnsafePointer<CChar>?, _ buffer: UnsafeMutablePointer<CChar>?,
    _ capacity: Int64, _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let handle = try Registry.find(report, LabReportHandle.self)
        let summary = handle.rows[try handle.row(row)]
        let text: String
        switch try string(what, "what") {
        case "claim": text = summary.claim
        case "statement": text = handle.report.statement(of: summary.claim)
        case "quantity": text = summary.quantity
        case "threshold": text = summary.thresholdText
        case let other: throw MRPError(.argument, "text '\(other)' is not claim, statement, quantity or threshold")
        }
        try write(text, buffer, capacity, needed)
    }
}

/// Writes the table "claim | quantity | threshold | measured | verdict", a line per row.
///
/// - Parameters:
///   - seed: counts the seeds from 0; -1 for all: means, with the range where seeds differ.
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (no such seed, buffer too small, NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_lab_report_table")
public func mrp_lab_report_table(
    _ report: UnsafePointer<mrp_lab_report>?, _ seed: Int64, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64,
    _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let handle = try Registry.find(report, LabReportHandle.self)
        let text = try handle.seed(seed).map { handle.report.table(seed: $0) } ?? handle.report.table
        try write(text, buffer, capacity, needed)
    }
}

/// Writes the whole report as JSON: claims and controls with their verdicts, and per seed the features captured over time, losses,
/// accuracies by kind of view and margins, with the options and the provenance. NaN is null.
///
/// - Parameters:
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (buffer too small, NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_lab_report_json")
public func mrp_lab_report_json(
    _ report: UnsafePointer<mrp_lab_report>?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64,
    _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary { try write(Registry.find(report, LabReportHandle.self).report.json().text(indent: 1), buffer, capacity, needed) }
}

/// Copies the correlations <w_r, v_j> of all kernels with all features, K x 2 k values.
///
/// - Parameters:
///   - seed: counts the seeds from 0.
///   - moment: "initial", "pretrained" or "supervised" (after supervised learning from scratch); of "hierarchical" "initial", "pretrained",
///     "fine" or "coarse" (after training with such labels).
///   - values: receives the values; NULL with a capacity of 0 asks for the sizes only.
///   - capacity: elements in `values`.
///   - kernels: receives K; may be NULL.
///   - features: receives 2 k; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (no such seed or moment, too small, NULL), MRP_ERR_STATE (the run had no such part), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_lab_report_correlations")
public func mrp_lab_report_correlations(
    _ report: UnsafePointer<mrp_lab_report>?, _ seed: Int64, _ moment: UnsafePointer<CChar>?, _ values: UnsafeMutablePointer<Double>?,
    _ capacity: Int64, _ kernels: UnsafeMutablePointer<Int64>?, _ features: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let handle = try Registry.find(report, LabReportHandle.self)
        guard let seed = try handle.seed(seed) else { throw MRPError(.argument, "seed -1 has no correlations: they are one seed's") }
        let result = handle.report.seeds[seed]
        let name = try string(moment, "moment")
        guard let map = result.correlations(name) else {
            let known = ["initial", "pretrained", "supervised"]
            guard !known.contains(name) else {
                throw MRPError(.state, "the run had no \(name == "supervised" ? "supervised learning" : name)")
            }
            let moments = Set(known + result.correlations.map(\.moment)).sorted().joined(separator: ", ")
            throw MRPError(.argument, "moment '\(name)' is not one of: \(moments)")
        }
        kernels?.pointee = Int64(map.kernels)
        features?.pointee = Int64(map.features)
        if values == nil, capacity == 0 { return }
        _ = try output(values, capacity: capacity, needed: map.values.count, "values").update(fromContentsOf: map.values)
    }
}

/// Destroys a report. NULL is allowed.
///
/// Since 0.1.
@_cdecl("mrp_lab_report_destroy")
public func mrp_lab_report_destroy(_ report: UnsafeMutablePointer<mrp_lab_report>?) {
    Registry.remove(report)
}
