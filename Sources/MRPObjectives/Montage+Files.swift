import MRPEngine
import MRPModels
import MRPOptions

/// Files of montage pretraining keep pyramid, head and predictors; the teacher is made anew when a run begins.
extension Montage {
    public var isKeptInFiles: Bool { true }

    public var settings: [(key: String, value: JSON)] {
        [
            ("montage_levels", .integer(form.levels)), ("montage_predictor", .string(form.predictors.rawValue)),
            ("pyramid_width", .integer(head.pyramid.width)), ("montage_convolutions", .integer(head.convolutions)),
            ("projection_width", .integer(head.width)), ("projection_hidden", .integer(head.hidden)),
        ]
    }

    public func adapted(
        to encoder: any ImageEncoder, from former: PatchGeometry, _ notes: inout [String]
    ) throws -> (any PretrainingObjective)? {
        guard let encoder = encoder.convolutionalEncoder, form.levels <= Self.mostLevels(encoder) else {
            notes.append("the feature pyramid of montage is left out: its \(form.levels) levels do not fit these images")
            return nil
        }
        return try Montage(encoder, head, form, decay: teacher.decay, isRest: isRest)
    }

    static func read(_ file: ObjectiveFile) throws -> Montage? {
        guard let json = file.settings, json["name"]?.string == name else { return nil }
        func integer(_ key: String, _ range: ClosedRange<Int>) throws -> Int {
            guard let number = json[key]?.integer, range.contains(number) else {
                throw MRPError(.format, "the configuration of objective montage needs \(key), \(range.lowerBound) ... \(range.upperBound)")
            }
            return number
        }
        guard let encoder = file.encoder.convolutionalEncoder,
            let predictors = Predictors(rawValue: json["montage_predictor"]?.string ?? "")
        else {
            throw MRPError(.format, "the configuration of objective montage needs a convolutional encoder and montage_predictor")
        }
        var form = Form()
        form.levels = try integer("montage_levels", levelRange)
        form.predictors = predictors
        let head = try MontageHead(
            pyramid: FeaturePyramid(width: integer("pyramid_width", FeaturePyramid.widths)),
            convolutions: integer("montage_convolutions", convolutionRange), hidden: integer("projection_hidden", widthRange),
            width: integer("projection_width", widthRange))
        return try Montage(encoder, head, form, decay: usualDecay, isRest: true)
    }
}
