import CMRPImage
import Glibc
import MRPEngine

/// What decoding the files of a dataset may take: memory, of all threads together, and processor time of one image. A small file can ask for
/// a lot of both.
///
/// Threads keep the memory of small images. A large one waits until there is room for it beside other large ones, and gives its memory
/// back once it is used.
public final class DecodeBudget: @unchecked Sendable {
    public static let defaultBytes = 4 << 30
    public static let defaultSeconds = 60.0

    let bytes: Int
    let seconds: Double
    /// Bytes up to which a thread keeps its memory: what the most loader threads keep together is within the budget.
    var kept: Int { bytes / 256 }

    private let used = UnsafeMutablePointer<Int64>.allocate(capacity: 1)
    private var process = getpid()

    public init(bytes: Int = DecodeBudget.defaultBytes, seconds: Double = DecodeBudget.defaultSeconds) {
        (self.bytes, self.seconds) = (bytes, seconds)
        used.initialize(to: 0)
    }

    deinit { used.deallocate() }

    /// Memory of a decoded image, its conversion or rotation, and the decoder's own.
    static func needed(_ info: mi_info, channels: Int) -> Int {
        // At most 2^32 pixels of 8 bytes: no overflow.
        let pixels = Int(info.height) * Int(info.width)
        return 2 * pixels * max(Int(info.channels), channels) * Int(mi_element_bytes(info.type)) + Int(info.working)
    }

    /// Takes so much of the memory; waits for that of others, unless the caller `holds` some itself. Errors: `.unsupported` with the numbers when
    /// it is more than there is; `Cancelled`.
    func take(_ wanted: Int, holds: Bool, for name: String) throws {
        guard wanted <= bytes else {
            throw MRPError(
                .unsupported, "\(name): decoding takes \(wanted) bytes of memory, decode_bytes allows \(bytes)")
        }
        if process != getpid() {  // a child: what threads of the parent took is nobody's here
            process = getpid()
            used.pointee = 0
        }
        while mi_counter_add(used, Int64(wanted)) > Int64(bytes), !holds {
            mi_counter_add(used, -Int64(wanted))
            try Interruption.check()
            usleep(2_000)
        }
    }

    func giveBack(_ taken: Int) {
        if process == getpid() { mi_counter_add(used, -Int64(taken)) }
    }
}

extension ImageWorkspace {
    /// Takes what decoding an image needs from its budget, where it has one.
    func admit(_ info: inout mi_info, _ name: String) throws {
        guard let budget else { return }
        info.seconds = budget.seconds
        let wanted = DecodeBudget.needed(info, channels: wantedChannels)
        guard wanted > budget.kept else { return }
        try budget.take(wanted, holds: taken > 0, for: name)
        taken += wanted
    }

    /// Gives back the memory of a large image. The current image is gone then.
    func finish() {
        guard let budget, taken > 0 else { return }
        trim()
        budget.giveBack(taken)
        taken = 0
    }
}
