/// Something that is looked up by its name.
public protocol Named: Sendable {
    var name: String { get }
}

/// Entries of one kind in the order of their arrival: the built-in ones, then those that a program adds. For any number of threads.
public final class Registry<Entry: Named>: @unchecked Sendable {
    /// The field's word for an entry, as errors have it: "sampler".
    public let kind: String
    /// Read and changed under `ProcessLock`.
    private var entries: [Entry]

    public init(_ kind: String, _ builtIn: [Entry]) {
        self.kind = kind
        entries = builtIn
    }

    public var all: [Entry] { ProcessLock.locked { entries } }

    public var names: [String] { all.map(\.name) }

    public func find(_ name: String) -> Entry? { all.first { $0.name == name } }

    /// Errors: `.argument` with all names when there is no such entry.
    public func entry(_ name: String) throws -> Entry {
        guard let entry = find(name) else {
            throw MRPError(.argument, "\(kind) '\(name)' is none of: \(names.joined(separator: ", "))")
        }
        return entry
    }

    /// Errors: `.argument` when the name is empty or taken.
    public func add(_ entry: Entry) throws {
        guard !entry.name.isEmpty else { throw MRPError(.argument, "the name of a \(kind) is empty") }
        try ProcessLock.locked {
            guard !entries.contains(where: { $0.name == entry.name }) else {
                throw MRPError(.argument, "there is a \(kind) named \(entry.name) already")
            }
            entries.append(entry)
        }
    }
}
