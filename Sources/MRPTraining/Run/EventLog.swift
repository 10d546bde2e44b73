import CMRPKernels
import Glibc
import MRPEngine

/// A run's values as a TensorBoard event file. A record is the length of its data (8 bytes), the masked CRC-32C of the length, the data and
/// the masked CRC-32C of the data (TFRecord); the data is an `Event` message: wall_time 1, step 2, file_version 3, summary 5, session_log 7.
/// A resumed run writes a file of its own, whose session start makes TensorBoard forget what the one before wrote after that step.
final class EventLog {
    private let path: String
    private let descriptor: Int32

    /// Errors: `.io`.
    init(_ folder: String, _ phase: Phase, after step: Int) throws {
        var host = [CChar](repeating: 0, count: 256)
        gethostname(&host, host.count - 1)
        let name = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let seconds = Int(Self.wallTime())
        // Two files of one second need two names.
        var (attempt, opened, path) = (0, Int32(-1), "")
        repeat {
            path = "\(folder)events.out.tfevents.\(seconds).\(name.isEmpty ? "host" : name).\(getpid()).\(attempt).\(phase.rawValue)"
            opened = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o666)
            attempt += 1
        } while opened < 0 && errno == EEXIST && attempt < 1_000
        guard opened >= 0 else { throw FileSystem.failure("cannot create", path) }
        (self.path, descriptor) = (path, opened)
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

    deinit { close(descriptor) }

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
        try (length + masked(length) + data + masked(data)).withUnsafeBytes { try FileSystem.write($0, to: descriptor, path) }
    }
}
