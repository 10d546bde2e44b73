import CMRPImage
import Glibc
import MRPEngine

/// Writes files on a thread of its own, one after the other, each replaced as a whole. Used by one thread at a time.
final class BackgroundWriter {
    private final class Job {
        let path: String
        let bytes: Memory
        var failure: Error?
        var done: Int32 = 0

        init(_ path: String, _ bytes: Memory) {
            self.path = path
            self.bytes = bytes
        }

        func run() {
            do {
                try FileSystem.replace(path, with: [UnsafeRawBufferPointer(bytes.raw)])
            } catch {
                failure = error
            }
            mi_flag_store(&done, 1)
        }
    }

    private var thread: OpaquePointer?
    private var job: Job?
    private var owner: pid_t = 0

    deinit { try? finish() }

    /// Whether a file is still being written.
    var isBusy: Bool { job.map { mi_flag_load(&$0.done) == 0 } ?? false }

    /// Begins to write; waits for the file before it. Errors: of the file before it. Without a thread the file is written here.
    func write(_ bytes: Memory, to path: String) throws {
        try finish()
        let job = Job(path, bytes)
        self.job = job
        owner = getpid()
        let context = Unmanaged.passRetained(job)
        let status = mi_thread_start(
            &thread, "mrp-checkpoint",
            { context in
                guard let context else { return }
                Unmanaged<Job>.fromOpaque(context).takeRetainedValue().run()
            }, context.toOpaque())
        guard status == 0 else {
            context.release()
            thread = nil
            job.run()
            return try finish()
        }
    }

    /// Waits until everything is on the disk. Errors (`.io`): what could not be written. In a forked child there is nothing to wait for:
    /// the parent's thread writes the file.
    func finish() throws {
        guard let job else { return }
        self.job = nil
        if let thread {
            self.thread = nil
            guard owner == getpid() else { return mi_thread_forget(thread) }
            mi_thread_join(thread)
        }
        if let failure = job.failure { throw failure }
    }
}
