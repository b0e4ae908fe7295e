// Calls an API once for each line of standard input, with the client of the recipe, and prints each status.
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpRequest;
import java.nio.file.Path;

public final class Main {
    public static void main(String[] arguments) throws Exception {
        AdobeHttpClient client = new AdobeHttpClient(arguments[0], arguments[1], Path.of(arguments[2]));
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[3])).GET().build();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        while (lines.readLine() != null) {
            try {
                System.out.println(client.send(request).statusCode());
            } catch (IOException refused) {
                System.out.println(refused.getMessage());
            }
        }
    }
}
