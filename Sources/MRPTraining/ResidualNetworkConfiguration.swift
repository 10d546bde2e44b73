import MRPEngine
import MRPModels

/// What a model's JSON says of a residual network: `model_type` resnet and torchvision's name of the size.
extension ModelConfiguration {
    static let residualType = "resnet"

    static func members(_ network: ResidualNetwork) -> [(key: String, value: JSON)] {
        let geometry = network.geometry
        return [
            ("model_type", .string(residualType)), ("architecture", .string(network.size.name)),
            ("stem", .string(network.stem.rawValue)), ("base_width", .integer(network.baseWidth)),
            ("image_size", .array([.integer(geometry.height), .integer(geometry.width)])),
            ("num_channels", .integer(geometry.channels)),
        ]
    }

    static func residualNetwork(_ json: JSON) throws -> ResidualNetwork {
        let name = json["architecture"]?.string ?? ""
        guard let size = ResidualNetwork.sizes.first(where: { $0.name == name }) else {
            throw MRPError(.format, "the configuration has architecture '\(name)', which is none of: \(Encoders.residualNames)")
        }
        guard let stem = ResidualNetwork.Stem(rawValue: json["stem"]?.string ?? ""), let width = json["base_width"]?.integer,
            let image = json["image_size"]?.array?.compactMap(\.integer), image.count == 2, let channels = json["num_channels"]?.integer
        else { throw MRPError(.format, "the configuration of a residual network needs stem, base_width, image_size and num_channels") }
        return try ResidualNetwork(size, stem: stem, baseWidth: width, channels: channels, height: image[0], width: image[1])
    }
}
