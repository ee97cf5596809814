package afterstay.peers;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import org.apache.camel.Exchange;
import org.apache.camel.builder.RouteBuilder;
import org.apache.camel.component.kafka.KafkaConstants;
import org.apache.camel.impl.DefaultCamelContext;

/**
 * What a hospital would put in front of Kafka: an Apache Camel route that answers AA once Kafka has acknowledged.
 *
 * <p>{@code Peer hapi|raw PORT BOOTSTRAP TOPIC PARTITIONS} prints {@code {"port": N}} when it serves, until SIGTERM.
 * {@code hapi} parses each message with HAPI and publishes the fields of our event as JSON with the message beside it;
 * {@code raw} forwards the bytes and looks at nothing.
 */
public final class Peer {
    private static final int CONNECTIONS_MAX = 256; // the default of 5 would leave 59 of 64 connections waiting
    private static final byte[] ACCEPTED = "AA".getBytes(StandardCharsets.US_ASCII);

    private Peer() {}

    public static void main(String[] words) throws Exception {
        boolean parsing = words[0].equals("hapi");
        String mllp = "mllp://127.0.0.1:" + words[1]
                + "?autoAck=true&stringPayload=false&hl7Headers=false&maxConcurrentConsumers=" + CONNECTIONS_MAX;
        String serializer = "org.apache.kafka.common.serialization.ByteArraySerializer";
        String kafka = "kafka:" + words[3] + "?brokers=" + words[2]
                + "&requestRequiredAcks=all&lingerMs=0&synchronous=true&recordMetadata=false&keySerializer=" + serializer
                + "&valueSerializer=" + serializer;
        int partitions = Integer.parseInt(words[4]);
        Hl7Event events = new Hl7Event();

        DefaultCamelContext context = new DefaultCamelContext();
        context.addRoutes(new RouteBuilder() {
            @Override
            public void configure() {
                if (parsing) {
                    from(mllp).process(exchange -> becomeEvent(exchange, events, partitions)).to(kafka);
                } else {
                    from(mllp).to(kafka);
                }
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(context::stop));
        context.start();
        System.out.println("{\"port\": " + words[1] + "}");
        Thread.currentThread().join();
    }

    private static void becomeEvent(Exchange exchange, Hl7Event events, int partitions) throws Exception {
        byte[] raw = exchange.getMessage().getBody(byte[].class);
        Hl7Event.Made event = events.make(raw);
        exchange.getMessage().setBody(event.json());
        Map<String, Object> headers = exchange.getMessage().getHeaders();
        headers.put(KafkaConstants.KEY, event.id().getBytes(StandardCharsets.US_ASCII));
        headers.put(KafkaConstants.PARTITION_KEY, event.partition(partitions));
        headers.put("raw", raw);
        headers.put("ack", ACCEPTED);
    }
}
