import Glibc
import MRPEngine
import TestSupport
import Testing

/// The meaning of every operation in primitives against its plain kernel, in float64.
@Suite struct PrimitiveTests {
    @Test(arguments: PrimitiveCase.all) func meaning(_ item: PrimitiveCase) throws {
        let g = CaseGraph()
        let outputs = try item.outputs(g)
        let comparison = try PrimitiveComparison(
            g.graph, outputs: outputs, state: g.tensors, compute: Compute(precision: .float64), fill: g.fill)
        #expect(comparison.count >= 1)
        #expect(comparison.error < 1e-9, "\(item.name): \(comparison.place)")
    }

    /// A new operation needs a case: the types in the sources are those of the cases' graphs.
    @Test func everyOperationHasACase() throws {
        var tested: Set<String> = []
        for item in PrimitiveCase.all {
            let g = CaseGraph()
            _ = try item.outputs(g)
            tested.formUnion(g.graph.nodes.map { "\(type(of: $0.operation))" })
        }
        let folder = String(#filePath.dropLast("Tests/EngineTests/PrimitiveTests.swift".count)) + "Sources"
        var known: Set<String> = []
        for text in try Self.sources(folder) {
            for line in text.split(separator: "\n") {
                guard let found = line.firstMatch(of: #/(?:struct|class|enum) (\w+): (?:.*, )?Operation\b.*{$/#) else { continue }
                known.insert(String(found.1))
            }
        }
        #expect(known.count > 40)
        #expect(tested == known)
    }

    /// The Swift files under a folder.
    static func sources(_ folder: String) throws -> [String] {
        let directory = try #require(opendir(folder))
        defer { closedir(directory) }
        var result: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
            }
            let path = folder + "/" + name
            if entry.pointee.d_type == DT_DIR, !name.hasPrefix(".") { result += try sources(path) }
            guard name.hasSuffix(".swift") else { continue }
            let file = try #require(fopen(path, "r"))
            defer { fclose(file) }
            var bytes = [UInt8](repeating: 0, count: 1 << 20)
            bytes.removeLast(bytes.count - fread(&bytes, 1, bytes.count, file))
            result.append(String(decoding: bytes, as: UTF8.self))
        }
        return result
    }

    @Test func hostOperationsDependOnInputs() throws {
        let graph = Graph()
        let images = graph.bound("images", TensorType([1, 1, 4, 4]))
        let geometry = try PatchGeometry(channels: 1, height: 4, width: 4, patchHeight: 2, patchWidth: 2)
        let outputs = try graph.apply(HistogramsOfGradients(geometry), [images])
        let error = #expect(throws: MRPError.self) { try graph.lowered(outputs: outputs) }
        #expect(error?.code == .unsupported)
    }

    /// Operands that do not fit are named.
    @Test func shapeErrors() throws {
        let builder = PrimitiveBuilder()
        let (a, b) = (try builder.constant(1, [2, 3], .f32), try builder.constant(1, [2, 4], .f32))
        for wrong in [{ try a + b }, { try a.dot(b, contracting: (1, 1)) }, { try a.reshape([4]) }, { try a + builder.iota(3) }] {
            let error = #expect(throws: MRPError.self) { try wrong() }
            #expect(error?.code == .internalError)
        }
    }
}
