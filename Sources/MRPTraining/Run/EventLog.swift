import CMRPKernels
import Glibc
import MRPEngine
import MRPOptions

/// A run's values as a TensorBoard event file. A record is the length of its data (8 bytes), the masked CRC-32C of the length, the data and
/// the masked CRC-32C of the data (TFRecord); the data is an `Event` message: wall_time 1, step 2, file_version 3, summary 5, session_log 7.
/// A resumed run writes a file of its own, whose session start makes TensorBoard forget what the one before wrote after that step: every scalar of
/// the folder, so that a folder belongs to one phase.
final class EventLog {
    private let path: String
    private let descriptor: Int32

    /// Opens a file in `folder`, which ends in "/" and is made where there is none. Errors: `.io`.
    init(_ folder: String, after step: Int) throws {
        try FileSystem.makeFolder(folder)
        var host = [CChar](repeating: 0, count: 256)
        gethostname(&host, host.count - 1)
        let name = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        // TensorBoard reads the files by name: the seconds come after those of the files that are there.
        let newest = try FileSystem.names(in: folder).compactMap(Self.seconds).max() ?? 0
        path = "\(folder)\(Self.prefix)\(max(Int(Self.wallTime()), newest + 1)).\(name.isEmpty ? "host" : name).\(getpid())"
        descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileSystem.failure("cannot create", path) }
        var version = Protobuf()
        version.double(1, Self.wallTime())
        version.text(3, "brain.Event:2")
        try write(version)
        var session = Protobuf()
        session.integer(1, 1)  // SessionLog.START
        var start = Protobuf()
        start.double(1, Self.wallTime())
        start.integer(2, step + 1)
        start.message(7, session)
        try write(start)
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private static let prefix = "events.out.tfevents."

    /// The seconds in the name of an event file; nil where they are none that a clock could show.
    private static func seconds(_ name: String) -> Int? {
        guard name.hasPrefix(prefix), let seconds = Int(name.dropFirst(prefix.count).prefix { $0 != "." }) else { return nil }
        return seconds < 1 << 40 ? seconds : nil
    }

    /// Returns when the events are on the disk.
    func synchronize() throws { try FileSystem.synchronize(descriptor, path) }

    /// Adds scalars of a step, each under `phase/name`.
    func add(_ values: [(name: String, value: Double)], phase: String, step: Int) throws {
        var summary = Protobuf()
        for (name, value) in values {
            var entry = Protobuf()
            entry.text(1, "\(phase)/\(name)")
            entry.float(2, Float(value))
            summary.message(1, entry)
        }
        var event = Protobuf()
        event.double(1, Self.wallTime())
        event.integer(2, step)
        event.message(5, summary)
        try write(event)
    }

    private static func wallTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    private func write(_ event: Protobuf) throws {
        let data = event.bytes
        func little(_ value: UInt64, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        /// A checksum that may itself be stored in data with checksums.
        func masked(_ bytes: [UInt8]) -> [UInt8] {
            let crc = bytes.withUnsafeBytes { mk_crc32c(0, $0.baseAddress, Int64($0.count)) }
            return little(UInt64((crc >> 15 | crc << 17) &+ 0xa282_ead8), 4)
        }
        let length = little(UInt64(data.count), 8)
        try FileSystem.append(length + masked(length) + data + masked(data), to: descriptor, path)
    }
}
