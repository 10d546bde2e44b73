import MRPData
import MRPEngine
import MRPModels
import MRPOptions

extension Inference {
    /// The same images with finer classes: each class is cut into `perClass` clusters of its images' features (`BalancedClusters`), which are
    /// called class/0, class/1 and so on. Without labels all images are one class, and the clusters are called 0, 1 and so on.
    ///
    /// Nil when it was cancelled. Errors: those of `encode`; `.argument` for a class with fewer images than clusters or with equal features. An
    /// image that cannot be read is an error: it would belong nowhere.
    public func fineLabels(_ dataset: ImageDataset, perClass: Int) throws -> ImageDataset? {
        guard perClass >= 2, perClass <= dataset.count else {
            throw MRPError(.argument, "per_class \(perClass) is outside 2 ... \(dataset.count), the number of images")
        }
        let groups = try ImagesByClass(dataset)
        guard perClass <= Self.mostFineClasses / max(1, groups.classes) else {
            throw MRPError(
                .unsupported,
                "\(groups.classes) classes with per_class \(perClass) are above the limit of \(Self.mostFineClasses) classes")
        }
        for label in 0..<groups.classes {
            let images = groups[label].count
            guard images == 0 || images >= perClass else {
                throw MRPError(.argument, "per_class \(perClass) is above the \(images) \(Self.name(label, of: dataset))")
            }
        }
        try Memory.check(groups.classes * perClass, bytesEach: 128, for: "the names of \(groups.classes * perClass) classes")
        var whole = self
        whole.skipsUnreadable = false
        let width = try featureCount()
        let features = try Tensor([dataset.count, width])
        guard try whole.encode(dataset, into: features.float32) else { return nil }
        return try fineLabels(dataset, features, groups, perClass)
    }

    private static var mostFineClasses: Int { 1 << 20 }

    /// The images of a class, for people.
    private static func name(_ label: Int, of dataset: ImageDataset) -> String {
        dataset.labels == nil ? "images" : "images of class '\(dataset.classNames[label])'"
    }

    private func fineLabels(_ dataset: ImageDataset, _ features: Tensor, _ groups: ImagesByClass, _ perClass: Int) throws -> ImageDataset {
        let width = features.shape[1]
        let memory = try Memory(dataset.count, elementBytes: 4, for: "\(dataset.count) labels")
        let labels = memory.typed(Int32.self)
        let compute = try options.compute()
        var names: [String] = []
        for label in 0..<groups.classes where !groups[label].isEmpty {
            let images = groups[label]
            let rows = try Tensor([images.count, width])
            for (row, image) in images.enumerated() {
                (rows.memory + 4 * width * row).copyMemory(from: features.memory + 4 * width * Int(image), byteCount: 4 * width)
            }
            let (_, ids) = try BalancedClusters.fit(
                rows, clusters: perClass, seed: options.seed, compute: compute, what: Self.name(label, of: dataset))
            for (row, image) in images.enumerated() { labels[Int(image)] = Int32(names.count) + ids.int32[row] }
            let prefix = dataset.labels == nil ? "" : dataset.classNames[label] + "/"
            names += (0..<perClass).map { prefix + String($0) }
        }
        return NamedClassesDataset(dataset, labels: memory, names: names)
    }
}
