import Glibc
import MRPEngine
import MRPTraining
import TestSupport
import Testing

/// Files are replaced as their owner wants them, and what is no file of ours is left alone.
@Suite struct FileTests {
    func save(_ text: String, to path: String) throws {
        try Array(text.utf8).withUnsafeBytes { try FileSystem.replace(path, with: [$0]) }
    }

    func status(_ path: String) -> stat {
        var result = stat()
        lstat(path, &result)
        return result
    }

    @Test func linksAndPermissionsStay() throws {
        let folder = try TemporaryFolder()
        try folder.makeFolder("deep")
        try save("old", to: folder.file("deep/file"))
        chmod(folder.file("deep/file"), 0o640)
        symlink("deep/file", folder.file("link"))
        symlink(folder.file("link"), folder.file("link2"))
        symlink("nothing", folder.file("dangling"))
        try save("new", to: folder.file("link2"))
        try save("made", to: folder.file("dangling"))
        #expect(try bytes(folder.file("deep/file")) == Array("new".utf8) && bytes(folder.file("nothing")) == Array("made".utf8))
        #expect(status(folder.file("deep/file")).st_mode & 0o7777 == 0o640)
        for link in ["link", "link2", "dangling"] { #expect(status(folder.file(link)).st_mode & S_IFMT == S_IFLNK, "\(link)") }
        #expect(try folder.names() == ["dangling", "deep", "link", "link2", "nothing"] && folder.names(in: "deep") == ["file"])
        symlink("loop", folder.file("loop"))
        for (name, words) in [("loop", "symbolic links"), ("deep", "not a regular file"), ("none/file", "No such file")] {
            let error = #expect(throws: MRPError.self) { try save("x", to: folder.file(name)) }
            #expect(error?.code == .io && error?.message.contains(words) == true, "\(error?.message ?? "")")
        }
    }

    @Test func devicesAndPipesAreNotReplaced() throws {
        let folder = try TemporaryFolder()
        mkfifo(folder.file("pipe"), 0o600)
        for path in [folder.file("pipe"), "/dev/null"] {
            let error = #expect(throws: MRPError.self) { try save("x", to: path) }
            #expect(error?.message.contains("not a regular file") == true)
            #expect(throws: MRPError.self) { try FileBytes(path: path) }
        }
        #expect(status(folder.file("pipe")).st_mode & S_IFMT == S_IFIFO && status("/dev/null").st_mode & S_IFMT == S_IFCHR)
    }

    @Test func namesOfTheLargestLengthAreTaken() throws {
        let folder = try TemporaryFolder()
        let names = [String(repeating: "x", count: 255), String(repeating: "ä", count: 127), "x" + String(repeating: "日", count: 84)]
        for name in names { try save("x", to: folder.file(name)) }
        #expect(try folder.names() == names.sorted())
    }
}
