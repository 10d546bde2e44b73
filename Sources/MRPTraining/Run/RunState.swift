import MRPEngine

/// State of a run beyond its steps; part of its checkpoints.
struct RunState {
    var record = MeasurementRecord()
    /// Factor of the learning rate: below 1 after the run was rolled back.
    var rateScale = 1.0
    var rollbacks = 0
    /// The last step is done, but its measurement and its row in the logs are not: the run was cancelled in between.
    var isRowDue = false

    init() {}

    var json: JSON {
        .object([
            ("measurements", record.json), ("rate_scale", .number(rateScale)), ("rollbacks", .integer(rollbacks)),
            ("row_due", .bool(isRowDue)),
        ])
    }

    /// The state in a checkpoint after `step`. Errors (`.format`): numbers that no run comes to.
    init(_ json: JSON, step: Int) throws {
        if let measurements = json["measurements"] { record = try MeasurementRecord(measurements, step: step) }
        rateScale = json["rate_scale"]?.number ?? 1
        guard (0...1).contains(rateScale) else { throw MRPError(.format, "rate_scale \(rateScale) is outside [0, 1]") }
        rollbacks = try json.count("rollbacks", through: 1_000)
        isRowDue = json["row_due"]?.bool ?? false
    }
}

extension JSON {
    /// A member that counts something, 0 where there is none. Errors (`.format`): it is outside 0 ... limit.
    func count(_ key: String, through limit: Int) throws -> Int {
        guard let member = self[key] else { return 0 }
        guard let count = member.integer, (0...limit).contains(count) else {
            throw MRPError(.format, "\(key) \(member.text()) is outside 0 ... \(limit)")
        }
        return count
    }
}
