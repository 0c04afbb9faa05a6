// A small synth with every kind of control and planted traps, for tests of hosts and of what finds
// traps. DPF makes a plugin of each format of it; see conftest.py.
//
// Traps: "Dead" does nothing; "Key Track" is heard at other notes than C4 only; "Channel" silences
// the synth unless it is 1; "Boom" ends the process above 0.9; the noise comes from a variable of
// the library, which only unloading resets; "Echo" has a delay line that is not cleared between
// two notes; the constructor is slow if PROBE_SLOW is set (milliseconds), and starts a thread if
// PROBE_THREAD is. Built with PROBE_PLAIN, it keeps parameters and no state; with PROBE_EFFECT, it
// has an input and takes no notes.

#include "DistrhoPlugin.hpp"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <unistd.h>
#include <vector>

START_NAMESPACE_DISTRHO

enum { kWave, kOctave, kCutoff, kResonance, kAttack, kRelease, kSustain, kSquare, kNoise, kEcho,
       kDrive, kPan, kDead, kKeyTrack, kChannel, kBoom, kLevel, kCount };

static uint32_t seed = 1;  // of the noise: one variable for all instances

static const char* const kWaves[] = {"Sine", "Saw", "Pulse", "Noise"};
static const char* const kPans[] = {"Left", "Centre", "Right"};

struct Range { const char *name, *symbol, *unit; float def, min, max; uint32_t hints; int group; };

static const Range kRanges[kCount] = {
    {"Wave", "wave", "", 1, 0, 3, kParameterIsInteger, 0},
    {"Octave", "octave", "", 0, -2, 2, kParameterIsInteger, 0},
    {"Cutoff", "cutoff", "Hz", 2000, 20, 20000, kParameterIsLogarithmic, 1},
    {"Resonance", "resonance", "", 0.2f, 0, 1, 0, 1},
    {"Attack", "attack", "s", 0.01f, 0.001f, 1, kParameterIsLogarithmic, 2},
    {"Release", "release", "s", 0.1f, 0.01f, 1, kParameterIsLogarithmic, 2},
    {"Sustain", "sustain", "%", 80, 0, 100, 0, 2},
    {"Square", "square", "", 0, 0, 1, kParameterIsBoolean | kParameterIsInteger, 0},
    {"Noise", "noise", "", 0, 0, 1, 0, 0},
    {"Echo", "echo", "", 0, 0, 1, 0, -1},
    {"Drive", "drive", "dB", 0, 0, 24, 0, -1},
    {"Pan", "pan", "", 1, 0, 2, kParameterIsInteger, -1},
    {"Dead", "dead", "", 0.5f, 0, 1, 0, -1},
    {"Key Track", "key_track", "", 0, 0, 1, 0, 1},
    {"Channel", "channel", "", 1, 1, 16, kParameterIsInteger, -1},
    {"Boom", "boom", "", 0, 0, 1, 0, -1},
    {"Level", "level", "dB", -6, -40, 6, 0, -1},
};

static const float kPrograms[3][4] = {  // wave, cutoff, resonance, release
    {1, 2000, 0.2f, 0.1f}, {2, 600, 0.7f, 0.4f}, {0, 8000, 0, 0.2f}};
static const char* const kProgramNames[] = {"Plain", "Hollow", "Bell (soft)"};

class Probe : public Plugin {
public:
    Probe() : Plugin(kCount, 3, 0), delay(4096) {
        if (const char* slow = std::getenv("PROBE_SLOW")) usleep(1000 * std::atoi(slow));
        if (std::getenv("PROBE_THREAD")) std::thread([] { for (;;) pause(); }).detach();
        for (uint32_t i = 0; i < kCount; ++i) values[i] = kRanges[i].def;
    }

protected:
    const char* getLabel() const override { return "Probe"; }
    const char* getDescription() const override { return "A synth with traps"; }
    const char* getMaker() const override { return "pyrosynth"; }
    const char* getLicense() const override { return "Apache-2.0"; }
    uint32_t getVersion() const override { return d_version(1, 2, 3); }
    int64_t getUniqueId() const override { return d_cconst('P', 'r', 'o', 'b'); }

    void initParameter(uint32_t i, Parameter& p) override {
        const Range& r = kRanges[i];
        p.hints = kParameterIsAutomatable | r.hints;
        p.name = r.name;
        p.symbol = r.symbol;
        p.unit = r.unit;
        p.ranges.def = r.def;
        p.ranges.min = r.min;
        p.ranges.max = r.max;
        if (r.group >= 0) p.groupId = r.group;
        if (i == kWave) choices(p, kWaves, 4);
        if (i == kPan) choices(p, kPans, 3);
    }

    void initPortGroup(uint32_t id, PortGroup& group) override {
        static const char* const names[] = {"Oscillator", "Filter", "Envelope"};
        static const char* const symbols[] = {"osc", "filter", "env"};
        if (id > 2) return Plugin::initPortGroup(id, group);
        group.name = names[id];
        group.symbol = symbols[id];
    }

    void initProgramName(uint32_t i, String& name) override { name = kProgramNames[i]; }
    void loadProgram(uint32_t i) override {
        const int which[] = {kWave, kCutoff, kResonance, kRelease};
        for (uint32_t k = 0; k < kCount; ++k) values[k] = kRanges[k].def;
        for (int k = 0; k < 4; ++k) values[which[k]] = kPrograms[i][k];
    }

#if DISTRHO_PLUGIN_WANT_STATE
    void initState(uint32_t, State&) override {}  // none beside the parameters
    void setState(const char*, const char*) override {}
#endif

    float getParameterValue(uint32_t i) const override { return values[i]; }
    void setParameterValue(uint32_t i, float value) override { values[i] = value; }

    void run(const float**, float** outputs, uint32_t frames, const MidiEvent* events,
             uint32_t count) override {
        if (values[kBoom] > 0.9f) std::abort();
        const double rate = getSampleRate();
        const float level = std::pow(10.f, values[kLevel] / 20), drive = std::pow(10.f, values[kDrive] / 20);
        const float left = values[kPan] > 1.5f ? 0.5f : 1, right = values[kPan] < 0.5f ? 0.5f : 1;
        uint32_t next = 0;
        for (uint32_t n = 0; n < frames; ++n) {
            for (; next < count && events[next].frame <= n; ++next) note(events[next]);
            const float target = held ? (age < values[kAttack] * rate ? 1 : values[kSustain] / 100) : 0;
            const float seconds = held ? values[kAttack] : values[kRelease];
            envelope += (target - envelope) * (1 - std::exp(-4 / (seconds * rate)));
            ++age;
            const double hz = 440 * std::pow(2.0, (pitch - 69) / 12.0 + values[kOctave]);
            phase += hz / rate;
            phase -= std::floor(phase);
            const float track = std::pow(2.f, values[kKeyTrack] * (pitch - 60) / 12);
            const float cutoff = std::min(values[kCutoff] * track, float(0.2 * rate));
            const float f = 2 * std::sin(M_PI * cutoff / rate), q = 1 - 0.95f * values[kResonance];
            low += f * band;
            band += f * (oscillator() * envelope - low - q * band);
            float x = std::tanh(drive * low) * velocity;
            const float echo = delay[at];
            delay[at] = 0.5f * echo + x;  // what stays in here is heard in the next note
            at = (at + 1) % delay.size();
            x = (x + values[kEcho] * echo) * level;
            outputs[0][n] = left * x;
            outputs[1][n] = right * x;
        }
    }

private:
    void choices(Parameter& p, const char* const* labels, int count) {
        p.enumValues.count = count;
        p.enumValues.restrictedMode = true;
        p.enumValues.values = new ParameterEnumerationValue[count];
        for (int i = 0; i < count; ++i) {
            p.enumValues.values[i].label = labels[i];
            p.enumValues.values[i].value = i;
        }
    }

    void note(const MidiEvent& event) {
#ifdef PROBE_EFFECT
        return;
#endif
        if (event.size != 3) return;
        const uint8_t kind = event.data[0] & 0xF0, channel = event.data[0] & 0x0F;
        if (channel + 1 != int(values[kChannel] + 0.5f)) return;
        if (kind == 0x90 && event.data[2]) {
            pitch = event.data[1];
            velocity = event.data[2] / 127.f;
            held = true;
            age = 0;
            phase = 0;
        } else if (kind == 0x80 || kind == 0x90) {
            held = false;
        }
    }

    float random() {
        seed = seed * 1664525u + 1013904223u;
        return int32_t(seed) / 2147483648.f;
    }

    float oscillator() {
        float x = 0;
        switch (int(values[kWave] + 0.5f)) {
        case 0: x = std::sin(2 * M_PI * phase); break;
        case 1: x = 2 * phase - 1; break;
        case 2: x = phase < 0.25 ? 1 : -1; break;
        default: x = random();
        }
        if (values[kSquare] > 0.5f) x = x < 0 ? -0.7f : 0.7f;
        return values[kNoise] > 0 ? x + values[kNoise] * random() : x;
    }

    float values[kCount];
    std::vector<float> delay;
    size_t at = 0;
    double phase = 0, age = 0;
    float low = 0, band = 0, envelope = 0, velocity = 0;
    int pitch = 60;
    bool held = false;
};

Plugin* createPlugin() { return new Probe(); }

END_NAMESPACE_DISTRHO
