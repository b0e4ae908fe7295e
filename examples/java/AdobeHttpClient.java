// Sends requests with Adobe's headers, and tokens of ims-token-broker. Copy this class; it needs Java 17 alone.
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.time.Instant;
import java.util.HexFormat;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** For one IMS organisation. keyFile holds an API key or a projected token, and is read for each request to the broker. */
public final class AdobeHttpClient {
    private static final Duration LEEWAY = Duration.ofMinutes(1); // ask again when a token has less left
    private static final Duration DEADLINE = Duration.ofSeconds(20);

    private record Token(String value, String clientId, Instant expires) {}

    private final HttpClient http = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(5)).build();
    private final String brokerUrl;
    private final String org;
    private final Path keyFile;
    private Token token = new Token("", "", Instant.EPOCH);

    public AdobeHttpClient(String brokerUrl, String org, Path keyFile) {
        this.brokerUrl = brokerUrl;
        this.org = org;
        this.keyFile = keyFile;
    }

    /** Sends a request. On Adobe's 401013 it reports the token, and sends the request once more. */
    public HttpResponse<String> send(HttpRequest request) throws IOException, InterruptedException {
        Token used = current();
        HttpResponse<String> response = sendWith(request, used);
        if (response.statusCode() != 401 || !"401013".equals(member(response.body(), "error_code"))) {
            return response;
        }
        try {
            return sendWith(request, ask("POST", "/token/report", "{\"token_sha256\":\"" + sha256(used.value()) + "\"}"));
        } catch (IOException unavailable) {
            return response;
        }
    }

    private HttpResponse<String> sendWith(HttpRequest request, Token used) throws IOException, InterruptedException {
        HttpRequest signed = HttpRequest.newBuilder(request, (name, value) -> true)
            .setHeader("Authorization", "Bearer " + used.value())
            .setHeader("x-api-key", used.clientId())
            .setHeader("x-gw-ims-org-id", org)
            .build();
        return http.send(signed, BodyHandlers.ofString());
    }

    /** The token in memory, or a new one. While the broker is unavailable, a token is used to its end. */
    private synchronized Token current() throws IOException, InterruptedException {
        Duration left = Duration.between(Instant.now(), token.expires());
        if (left.compareTo(LEEWAY) > 0) {
            return token;
        }
        try {
            return ask("GET", "/token", "");
        } catch (IOException unavailable) {
            if (left.isNegative() || left.isZero()) {
                throw unavailable;
            }
            return token;
        }
    }

    private synchronized Token ask(String method, String path, String body) throws IOException, InterruptedException {
        URI url = URI.create(brokerUrl + path + "?org=" + URLEncoder.encode(org, StandardCharsets.UTF_8));
        HttpRequest request = HttpRequest.newBuilder(url)
            .timeout(DEADLINE)
            .header("Authorization", "Bearer " + Files.readString(keyFile).strip())
            .header("Content-Type", "application/json")
            .method(method, HttpRequest.BodyPublishers.ofString(body))
            .build();
        HttpResponse<String> answer = http.send(request, BodyHandlers.ofString());
        if (answer.statusCode() != 200) {
            String id = answer.headers().firstValue("x-request-id").orElse("unknown");
            throw new IOException("the broker answered " + answer.statusCode() + " (request " + id + ")");
        }
        String json = answer.body();
        token = new Token(member(json, "access_token"), member(json, "client_id"), Instant.parse(member(json, "expires_at")));
        return token;
    }

    /** A member that is text without escapes, as these are. With a JSON library at hand, use that. */
    private static String member(String json, String name) {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"?([^\",}]*)").matcher(json);
        return found.find() ? found.group(1) : "";
    }

    private static String sha256(String text) {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(digest);
        } catch (NoSuchAlgorithmException impossible) {
            throw new IllegalStateException(impossible);
        }
    }
}
