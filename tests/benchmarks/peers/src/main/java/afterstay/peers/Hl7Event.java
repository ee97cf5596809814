package afterstay.peers;

import ca.uhn.hl7v2.DefaultHapiContext;
import ca.uhn.hl7v2.HL7Exception;
import ca.uhn.hl7v2.HapiContext;
import ca.uhn.hl7v2.model.Message;
import ca.uhn.hl7v2.model.Structure;
import ca.uhn.hl7v2.model.v251.datatype.CE;
import ca.uhn.hl7v2.model.v251.datatype.CX;
import ca.uhn.hl7v2.model.v251.datatype.PL;
import ca.uhn.hl7v2.model.v251.datatype.TS;
import ca.uhn.hl7v2.model.v251.datatype.XAD;
import ca.uhn.hl7v2.model.v251.datatype.XCN;
import ca.uhn.hl7v2.model.v251.datatype.XPN;
import ca.uhn.hl7v2.model.v251.datatype.XTN;
import ca.uhn.hl7v2.model.v251.segment.DG1;
import ca.uhn.hl7v2.model.v251.segment.EVN;
import ca.uhn.hl7v2.model.v251.segment.GT1;
import ca.uhn.hl7v2.model.v251.segment.MSH;
import ca.uhn.hl7v2.model.v251.segment.NK1;
import ca.uhn.hl7v2.model.v251.segment.PD1;
import ca.uhn.hl7v2.model.v251.segment.PID;
import ca.uhn.hl7v2.model.v251.segment.PV1;
import ca.uhn.hl7v2.model.v251.segment.PV2;
import ca.uhn.hl7v2.parser.PipeParser;
import ca.uhn.hl7v2.validation.impl.ValidationContextFactory;
import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Instant;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.zip.CRC32;

/**
 * The fields of our AdtEvent v1, read by HAPI and written by Jackson's streaming generator, its fastest.
 *
 * <p>For the messages of the benchmark it gives what the listener gives, which the benchmark checks. It knows one feed
 * and finds nothing wrong with anything: a peer that did more would be slower.
 */
final class Hl7Event {
    private static final UUID NAMESPACE = UUID.fromString("5b0a1f2c-7c0e-5d7b-9a55-6f1d6b1f6a11");
    private static final String ZONE_NAME = "America/New_York";
    private static final ZoneId ZONE = ZoneId.of(ZONE_NAME);
    private static final DateTimeFormatter LOCAL = DateTimeFormatter.ISO_LOCAL_DATE_TIME;
    private static final Map<String, String> KINDS = Map.ofEntries(
            Map.entry("A01", "admitted"), Map.entry("A02", "transferred"), Map.entry("A03", "discharged"),
            Map.entry("A04", "registered"), Map.entry("A05", "pre_admitted"), Map.entry("A06", "became_inpatient"),
            Map.entry("A07", "became_outpatient"), Map.entry("A08", "updated"), Map.entry("A11", "admit_canceled"),
            Map.entry("A12", "transfer_canceled"), Map.entry("A13", "discharge_canceled"));
    private static final Map<String, String> CLASSES =
            Map.of("I", "IMP", "E", "EMER", "O", "AMB", "P", "PRENC", "R", "AMB", "B", "IMP");
    private static final Map<String, String> FACILITIES = Map.of("MERCY", "Mercy General Hospital");

    private final JsonFactory json = new JsonFactory();
    private final HapiContext hapi;
    private final ThreadLocal<PipeParser> parsers;

    /** An event and what Kafka is told of it. */
    record Made(String id, String smallest, byte[] json) {
        int partition(int partitions) {
            CRC32 hash = new CRC32();
            hash.update((smallest == null ? id : smallest).getBytes(StandardCharsets.UTF_8));
            return (int) (hash.getValue() % partitions);
        }
    }

    Hl7Event() {
        hapi = new DefaultHapiContext();
        hapi.setValidationContext(ValidationContextFactory.noValidation());
        parsers = ThreadLocal.withInitial(() -> new PipeParser(hapi));
    }

    Made make(byte[] raw) throws HL7Exception, IOException, NoSuchAlgorithmException {
        Message message = parsers.get().parse(new String(raw, StandardCharsets.UTF_8));
        String id = idOf(raw);
        PID pid = (PID) message.get("PID");
        CX[] identifiers = pid.getPatientIdentifierList();
        ByteArrayOutputStream out = new ByteArrayOutputStream(4096);
        try (JsonGenerator to = json.createGenerator(out)) {
            to.writeStartObject();
            to.writeStringField("event_id", id);
            to.writeNumberField("normalizer", 1);
            writeHeader(to, (MSH) message.get("MSH"), (EVN) message.get("EVN"));
            writePatient(to, message, pid, identifiers);
            writeVisit(to, (PV1) message.get("PV1"), (PV2) message.get("PV2"));
            writeDiagnoses(to, message);
            to.writeEndObject();
        }
        String smallest = null;
        for (CX one : identifiers) {
            String text = orEmpty(one.getAssigningAuthority().getNamespaceID().getValue()) + "|" + one.getIDNumber().getValue();
            smallest = smallest == null || text.compareTo(smallest) < 0 ? text : smallest;
        }
        return new Made(id, smallest, out.toByteArray());
    }

    private static String idOf(byte[] raw) throws NoSuchAlgorithmException {
        String hex = HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(raw));
        MessageDigest sha1 = MessageDigest.getInstance("SHA-1");
        sha1.update(HexFormat.of().parseHex(NAMESPACE.toString().replace("-", "")));
        byte[] digest = sha1.digest(hex.getBytes(StandardCharsets.US_ASCII));
        digest[6] = (byte) (digest[6] & 0x0f | 0x50);
        digest[8] = (byte) (digest[8] & 0x3f | 0x80);
        String text = HexFormat.of().formatHex(digest, 0, 16);
        return text.substring(0, 8) + "-" + text.substring(8, 12) + "-" + text.substring(12, 16) + "-"
                + text.substring(16, 20) + "-" + text.substring(20);
    }

    private static void writeHeader(JsonGenerator to, MSH msh, EVN evn) throws IOException {
        String trigger = msh.getMessageType().getTriggerEvent().getValue();
        to.writeStringField("feed", "mercy");
        write(to, "sending_application", msh.getSendingApplication().getNamespaceID().getValue());
        write(to, "sending_facility", msh.getSendingFacility().getNamespaceID().getValue());
        write(to, "control_id", msh.getMessageControlID().getValue());
        write(to, "message_type", msh.getMessageType().getMessageCode().getValue());
        write(to, "trigger", trigger);
        write(to, "hl7_version", msh.getVersionID().getVersionID().getValue());
        to.writeArrayFieldStart("acknowledgement_mode");
        to.writeString(msh.getAcceptAcknowledgmentType().getValue());
        to.writeString(msh.getApplicationAcknowledgmentType().getValue());
        to.writeEndArray();
        to.writeStringField("kind", KINDS.getOrDefault(trigger, "other"));
        to.writeObjectFieldStart("intake");
        to.writeStringField("outcome", "accepted");
        to.writeEndObject();
        String processing = msh.getProcessingID().getProcessingID().getValue();
        to.writeObjectFieldStart("processing");
        write(to, "id", processing);
        to.writeBooleanField("admitted", "P".equals(processing));
        to.writeEndObject();
        to.writeStringField("received_at", Instant.now().toString());
        writeTime(to, "sent_at", msh.getDateTimeOfMessage());
        writeTime(to, "recorded_at", evn.getRecordedDateTime());
        writeTime(to, "occurred_at", evn.getEventOccurred());
    }

    private static void writePatient(JsonGenerator to, Message message, PID pid, CX[] identifiers)
            throws IOException, HL7Exception {
        to.writeObjectFieldStart("patient");
        to.writeArrayFieldStart("identifiers");
        String ssn = pid.getSSNNumberPatient().getValue();
        for (CX one : identifiers) {
            writeIdentifier(to, null, one);
            if ("SS".equals(one.getIdentifierTypeCode().getValue()) && ssn == null) {
                ssn = one.getIDNumber().getValue();
            }
        }
        to.writeEndArray();
        to.writeArrayFieldStart("names");
        for (XPN name : pid.getPatientName()) {
            writeName(to, null, name);
        }
        to.writeEndArray();
        String born = pid.getDateTimeOfBirth().getTime().getValue();
        if (born != null && born.length() >= 8) {
            to.writeStringField(
                    "birth_date", born.substring(0, 4) + "-" + born.substring(4, 6) + "-" + born.substring(6, 8));
        }
        write(to, "sex", pid.getAdministrativeSex().getValue());
        to.writeArrayFieldStart("addresses");
        for (XAD one : pid.getPatientAddress()) {
            to.writeStartObject();
            write(to, "street", one.getStreetAddress().getStreetOrMailingAddress().getValue());
            write(to, "city", one.getCity().getValue());
            write(to, "state", one.getStateOrProvince().getValue());
            write(to, "zip", one.getZipOrPostalCode().getValue());
            write(to, "use", one.getAddressType().getValue());
            to.writeEndObject();
        }
        to.writeEndArray();
        to.writeArrayFieldStart("phones");
        for (XTN[] phones : List.of(pid.getPhoneNumberHome(), pid.getPhoneNumberBusiness())) {
            for (XTN one : phones) {
                to.writeStartObject();
                write(to, "number", one.getTelephoneNumber().getValue());
                write(to, "use", one.getTelecommunicationUseCode().getValue());
                to.writeEndObject();
            }
        }
        to.writeEndArray();
        write(to, "ssn", ssn == null ? null : ssn.replaceAll("\\D", ""));
        write(to, "language", pid.getPrimaryLanguage().getIdentifier().getValue());
        writeIdentifier(to, "account", pid.getPatientAccountNumber());
        writeContacts(to, message);
        XCN[] doctors = ((PD1) message.get("PD1")).getPatientPrimaryCareProviderNameIDNo();
        write(to, "pcp", doctors.length == 0 ? null : nameOf(doctors[0]));
        to.writeEndObject();
    }

    private static void writeContacts(JsonGenerator to, Message message) throws IOException, HL7Exception {
        to.writeArrayFieldStart("contacts");
        for (Structure one : message.getAll("NK1")) {
            NK1 nk1 = (NK1) one;
            to.writeStartObject();
            to.writeStringField("source", "NK1");
            writeName(to, "name", nk1.getNK1Name(0));
            write(to, "relation", wordOf(nk1.getRelationship()));
            write(to, "phone", nk1.getPhoneNumber(0).getTelephoneNumber().getValue());
            write(to, "role", wordOf(nk1.getContactRole()));
            to.writeEndObject();
        }
        for (Structure one : message.getAll("GT1")) {
            GT1 gt1 = (GT1) one;
            to.writeStartObject();
            to.writeStringField("source", "GT1");
            writeName(to, "name", gt1.getGuarantorName(0));
            write(to, "relation", wordOf(gt1.getGuarantorRelationship()));
            write(to, "phone", gt1.getGuarantorPhNumHome(0).getTelephoneNumber().getValue());
            to.writeEndObject();
        }
        to.writeEndArray();
    }

    private static void writeVisit(JsonGenerator to, PV1 pv1, PV2 pv2) throws IOException {
        to.writeObjectFieldStart("visit");
        writeIdentifier(to, "number", pv1.getVisitNumber());
        String patientClass = pv1.getPatientClass().getValue();
        writeCoded(to, "class", patientClass, CLASSES.get(orEmpty(patientClass)));
        write(to, "patient_type", pv1.getPatientType().getValue());
        PL place = pv1.getAssignedPatientLocation();
        String facility = place.getFacility().getNamespaceID().getValue();
        List<String> parts = new ArrayList<>(4);
        for (String part : new String[] {
            place.getPointOfCare().getValue(), place.getRoom().getValue(), place.getBed().getValue(), facility
        }) {
            if (part != null) {
                parts.add(part);
            }
        }
        write(to, "location", parts.isEmpty() ? null : String.join(" ", parts));
        if (facility != null) {
            to.writeObjectFieldStart("facility");
            to.writeStringField("code", facility);
            write(to, "name", FACILITIES.get(facility));
            to.writeStringField("zone", ZONE_NAME);
            to.writeEndObject();
        }
        writeTime(to, "admitted_at", pv1.getAdmitDateTime());
        writeTime(to, "discharged_at", pv1.getDischargeDateTime(0));
        String disposition = pv1.getDischargeDisposition().getValue();
        writeCoded(to, "disposition", disposition, disposition);
        write(to, "attending", nameOf(pv1.getAttendingDoctor(0)));
        write(to, "admit_source", pv1.getAdmitSource().getValue());
        write(to, "reason", wordOf(pv2.getAdmitReason()));
        to.writeEndObject();
    }

    private static void writeDiagnoses(JsonGenerator to, Message message) throws IOException, HL7Exception {
        to.writeArrayFieldStart("diagnoses");
        for (Structure one : message.getAll("DG1")) {
            DG1 dg1 = (DG1) one;
            CE code = dg1.getDiagnosisCodeDG1();
            to.writeStartObject();
            write(to, "code", code.getIdentifier().getValue());
            write(to, "text", code.getText().getValue());
            write(to, "system", code.getNameOfCodingSystem().getValue());
            write(to, "type", dg1.getDiagnosisType().getValue());
            to.writeEndObject();
        }
        to.writeEndArray();
    }

    private static void writeTime(JsonGenerator to, String name, TS time) throws IOException {
        String text = time.getTime().getValue();
        if (text == null || text.length() < 14) {
            return;
        }
        LocalDateTime local = LocalDateTime.of(
                number(text, 0, 4), number(text, 4, 6), number(text, 6, 8), number(text, 8, 10), number(text, 10, 12),
                number(text, 12, 14));
        to.writeObjectFieldStart(name);
        to.writeStringField("text", text);
        to.writeStringField("local", LOCAL.format(local));
        to.writeStringField("at", local.atZone(ZONE).toInstant().toString());
        to.writeStringField("precision", "second");
        to.writeStringField("zone", ZONE_NAME);
        to.writeEndObject();
    }

    private static int number(String text, int begin, int end) {
        return Integer.parseInt(text, begin, end, 10);
    }

    private static void writeIdentifier(JsonGenerator to, String name, CX one) throws IOException {
        String value = one.getIDNumber().getValue();
        if (value == null) {
            return;
        }
        start(to, name);
        to.writeStringField("value", value);
        write(to, "authority", one.getAssigningAuthority().getNamespaceID().getValue());
        write(to, "type", one.getIdentifierTypeCode().getValue());
        to.writeEndObject();
    }

    private static void writeName(JsonGenerator to, String name, XPN one) throws IOException {
        start(to, name);
        write(to, "family", one.getFamilyName().getSurname().getValue());
        write(to, "given", one.getGivenName().getValue());
        write(to, "middle", one.getSecondAndFurtherGivenNamesOrInitialsThereof().getValue());
        write(to, "suffix", one.getSuffixEgJRorIII().getValue());
        write(to, "use", one.getNameTypeCode().getValue());
        to.writeEndObject();
    }

    private static void writeCoded(JsonGenerator to, String name, String raw, String code) throws IOException {
        if (raw == null) {
            return;
        }
        to.writeObjectFieldStart(name);
        to.writeStringField("raw", raw);
        write(to, "code", code);
        to.writeEndObject();
    }

    private static void start(JsonGenerator to, String name) throws IOException {
        if (name == null) {
            to.writeStartObject();
        } else {
            to.writeObjectFieldStart(name);
        }
    }

    private static void write(JsonGenerator to, String name, String value) throws IOException {
        if (value != null && !value.isEmpty()) {
            to.writeStringField(name, value);
        }
    }

    private static String nameOf(XCN one) {
        String family = one.getFamilyName().getSurname().getValue();
        String given = one.getGivenName().getValue();
        return family == null ? given : given == null ? family : given + " " + family;
    }

    private static String wordOf(CE one) {
        String text = one.getText().getValue();
        return text == null ? one.getIdentifier().getValue() : text;
    }

    private static String orEmpty(String text) {
        return text == null ? "" : text;
    }
}
