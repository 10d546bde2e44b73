import CMRPKernels
import MRPEngine
import MRPOptions

/// A sweep over one or two options with several seeds. Cells run in parallel, one thread each; rows are appended to a CSV file in
/// the order of the grid, so a study that was stopped goes on where it was, and ends with the same file.
public struct Study: Sendable {
    public struct Axis: Sendable {
        /// An option's key or symbol.
        public let key: String
        public let values: [String]

        public init(_ key: String, _ values: [String]) {
            self.key = key
            self.values = values
        }

        /// The axes in a text such as "tau=1.05,1.1,1.15; theta=0.3,0.5". Errors: `argument`.
        public static func parse(_ text: String) throws -> [Axis] {
            try text.split(separator: ";", omittingEmptySubsequences: false).map { part in
                let sides = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard sides.count == 2 else {
                    throw MRPError(.argument, "'\(part)' is not an option to sweep with its values, such as tau=1.05,1.1")
                }
                let values = sides[1].split(separator: ",", omittingEmptySubsequences: false).map(trimmed)
                return Axis(trimmed(sides[0]), sides[1].allSatisfy { $0 == " " } ? [] : values)
            }
        }

        private static func trimmed(_ text: Substring) -> String {
            String(text.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed())
        }
    }

    public let options: LabOptions
    public let axes: [Axis]

    /// `options` holds what is not swept; its `seeds` run in every cell, without controls. Errors (`argument`): no axis or more
    /// than two, an axis without values, an unknown key, a value out of range or that does not fit the others, more than 1,000,000
    /// cells.
    public init(_ options: LabOptions, axes: [Axis]) throws {
        guard axes.count == 1 || axes.count == 2 else {
            throw MRPError(.argument, "a study has 1 or 2 options to sweep, not \(axes.count)")
        }
        var cells = options.seeds
        for axis in axes {
            let definition = try OptionTable.laboratory.definition(axis.key)
            _ = try options.text(axis.key)
            guard !["seeds", "first_seed", "threads", "controls", "samples"].contains(definition.key) else {
                throw MRPError(.argument, "option '\(definition.key)' cannot be swept")
            }
            guard !axis.values.isEmpty else { throw MRPError(.argument, "the values of '\(axis.key)' to sweep are missing") }
            for value in axis.values { try definition.validate(value) }
            cells = try checkedProduct([cells, axis.values.count])
        }
        guard cells <= 1_000_000 else { throw MRPError(.argument, "a study of \(cells) cells is above 1000000") }
        if axes.count == 2, try OptionTable.laboratory.definition(axes[0].key).key == OptionTable.laboratory.definition(axes[1].key).key {
            throw MRPError(.argument, "option '\(axes[0].key)' is swept twice")
        }
        self.axes = axes
        var options = options
        options.controls = false
        self.options = options
        for index in stride(from: 0, to: cells, by: options.seeds) { try cell(index).validate() }
    }

    /// The number of rows of the finished file.
    public var count: Int { axes.reduce(options.seeds) { $0 * $1.values.count } }

    /// One cell: the swept values and a seed.
    func cell(_ index: Int) throws -> LabOptions {
        var options = self.options
        options.seeds = 1
        options.firstSeed += index % self.options.seeds
        var rest = index / self.options.seeds
        for axis in axes.reversed() {
            try options.set(axis.key, axis.values[rest % axis.values.count])
            rest /= axis.values.count
        }
        return options
    }

    /// Names the options that are not swept, so that a file is never continued with others (FNV-1a of their text).
    var fingerprint: String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        let own = ["seeds", "first_seed", "threads"]
        for option in options.own {
            let (key, symbol) = (option.definition.key, option.definition.symbol)
            if own.contains(key) || axes.contains(where: { $0.key == key || $0.key == symbol }) { continue }
            for byte in "\(key)=\(option.text(options));".utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        }
        return String(hash, radix: 16)
    }

    /// Runs what the file at `path` does not hold yet. `progress` gets finished and all rows after each group of cells, on the
    /// calling thread; false stops, and so does `cancel`. Returns whether the study is finished.
    ///
    /// Errors: those of `Laboratory.run`; `io` with the path; `format` when the file belongs to another study,
    /// `state` while another one writes it.
    @discardableResult
    public func run(
        path: String, cancel: UnsafePointer<Int32>? = nil, progress: (_ rows: Int, _ all: Int) -> Bool = { _, _ in true }
    ) throws -> Bool {
        let file = try StudyFile(path: path, header: header)
        var rows = file.rows
        for (index, row) in rows.enumerated() {
            let isOwn = try index < count && row.hasPrefix(prefix(index) + ",") && row.hasSuffix(",\(fingerprint)")
            guard isOwn else { throw MRPError(.format, "'\(path)' line \(index + 2) belongs to another study") }
        }
        try file.mend()
        let threads = try LabCompute(options).threads
        while rows.count < count {
            if let cancel, mk_flag_load(cancel) != 0 { return false }
            guard progress(rows.count, count) else { return false }
            let group = rows.count..<min(rows.count + threads, count)
            guard let new = try StudyGroup(self, group, cancel: cancel).run(threads: threads) else { return false }
            try file.append(new)
            rows += new
        }
        _ = progress(count, count)
        return true
    }

    // MARK: Rows

    var header: String {
        (axes.map(\.key) + ["seed"] + options.definition.studyColumns(options) + ["options"]).joined(separator: ",")
    }

    func prefix(_ index: Int) throws -> String {
        let options = try cell(index)
        return try (axes.map { try options.text($0.key) } + [String(options.firstSeed)]).joined(separator: ",")
    }

    func row(_ index: Int, cancel: UnsafePointer<Int32>?) throws -> String {
        var options = try cell(index)
        options.threads = 1
        let report = try Laboratory.run(options, cancel: cancel)
        guard let seed = report.seeds.first else { throw MRPError(.internalError, "a cell without result") }
        return try ([prefix(index)] + options.definition.studyRow(seed, options) + [fingerprint]).joined(separator: ",")
    }

    /// A number in a row; nothing for NaN and for what was not measured.
    static func field(_ value: Double?) -> String { value.map { $0.isNaN ? "" : Text.number($0) } ?? "" }
}

/// Cells that run at the same time.
private final class StudyGroup {
    let study: Study
    let range: Range<Int>
    let cancel: UnsafePointer<Int32>?
    /// One place per cell, written by the one task that runs it.
    let results: UnsafeMutableBufferPointer<Result<String, Error>?>

    init(_ study: Study, _ range: Range<Int>, cancel: UnsafePointer<Int32>?) {
        self.study = study
        self.range = range
        self.cancel = cancel
        results = .allocate(capacity: range.count)
        results.initialize(repeating: nil)
    }

    deinit {
        results.deinitialize()
        results.deallocate()
    }

    /// nil when cancelled.
    func run(threads: Int) throws -> [String]? {
        guard let pool = mk_pool_create(Int32(min(threads, range.count))) else {
            throw MRPError(.memory, "cannot create a pool of \(threads) threads")
        }
        defer { mk_pool_destroy(pool) }
        mk_pool_run(
            pool, Int64(range.count),
            { context, index, _ in
                guard let context else { return }
                let group = Unmanaged<StudyGroup>.fromOpaque(context).takeUnretainedValue()
                let cell = group.range.lowerBound + Int(index)
                group.results[Int(index)] = Result { try group.study.row(cell, cancel: group.cancel) }
            }, Unmanaged.passUnretained(self).toOpaque())
        do { return try results.map { try $0?.get() ?? "" } } catch is LabCancelled { return nil }
    }
}
