import CMRPImage
import Glibc
import MRPEngine

/// The sorted names of one folder, in C memory.
final class FolderListing {
    let folder: FilePath
    let first: Int
    let count: Int
    private let listing: UnsafeMutablePointer<mi_listing>

    init<What: BinaryInteger>(_ folder: FilePath, _ what: What, first: Int) throws {
        var failure = mi_error()
        guard let listing = folder.withCString({ mi_list($0, Int32(what), &failure) }) else { throw ImageFile.error(failure, folder.text) }
        self.folder = folder
        self.first = first
        self.listing = listing
        count = Int(listing.pointee.count)
    }

    deinit { mi_listing_free(listing) }

    func name(_ i: Int) -> String { listing.pointee.names[i].map { FilePath.text($0) } ?? "" }
    func path(_ i: Int) -> FilePath { listing.pointee.names[i].map { folder.entry($0) } ?? folder }

    /// The place of a name, whose bytes come without a NUL; nil where there is none such.
    func place(of name: [CChar]) -> Int? {
        let name = name + [0]
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            let order = listing.pointee.names[middle].map { strcmp($0, name) } ?? -1
            if order == 0 { return middle }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return nil
    }

    var hasFolders: Bool { listing.pointee.folders > 0 }

    /// Images that are not read, by the ends of their names.
    var others: [(end: String, count: Int)] {
        withUnsafeBytes(of: listing.pointee.others) { bytes in
            bytes.bindMemory(to: Int64.self).enumerated().compactMap { kind, count in
                count > 0 ? (String(cString: mi_other_kind(Int32(kind))), Int(count)) : nil
            }
        }
    }

    /// The error of a folder without images.
    var empty: MRPError {
        let others = others.isEmpty ? "" : ", but \(FilesLeftOut.list(others)): only JPEG and PNG are read"
        return MRPError(.format, "\(folder.text): no .jpg, .jpeg, .jpe, .jfif or .png files\(others)")
    }
}

/// Image files that are there and not used, counted for one line of the log.
struct FilesLeftOut {
    private let root: FilePath
    private var others: [String: Int] = [:]
    private var beside = 0
    private var below = 0
    private var examples: [String] = []

    init(_ root: FilePath) { self.root = root }

    static func list(_ others: [(end: String, count: Int)]) -> String {
        others.map { "\($0.count) \($0.end)" }.joined(separator: ", ")
    }

    /// A folder whose images are used: what else it holds.
    mutating func add(_ folder: FolderListing) throws {
        for (end, count) in folder.others { others[end, default: 0] += count }
        guard folder.hasFolders else { return }
        var example = [CChar](repeating: 0, count: 512)
        let found = Int(folder.folder.withCString { mi_count_below($0, &example, Int64(example.count)) })
        try Interruption.check()
        guard found > 0 else { return }
        below += found
        if examples.count < 3 { examples.append("'\(folder.folder.entry(&example).text)'") }
    }

    /// The folder that holds the classes: its own images.
    mutating func addBeside(_ folder: FolderListing) {
        beside += folder.count
        if folder.count > 0 { examples.append("'\(folder.path(0).text)'") }
        for (end, count) in folder.others { others[end, default: 0] += count }
    }

    var text: String? {
        let kinds = others.sorted { $0.key < $1.key }.map { (end: $0.key, count: $0.value) }
        var parts: [String] = []
        if below > 0 { parts.append("\(below) in folders further down") }
        if beside > 0 { parts.append("\(beside) beside the class folders") }
        if !kinds.isEmpty { parts.append("\(Self.list(kinds)) (only JPEG and PNG are read)") }
        guard !parts.isEmpty else { return nil }
        let total = below + beside + kinds.reduce(0) { $0 + $1.count }
        let such = examples.isEmpty ? "" : ", such as " + examples.joined(separator: ", ")
        return "\(root.text): \(total) image files are not used: \(parts.joined(separator: ", "))\(such)"
    }
}
