// What DPF is to know of the test synth in probe.cpp.
#define DISTRHO_PLUGIN_BRAND "pyrosynth"
#define DISTRHO_PLUGIN_NAME "Probe"
#define DISTRHO_PLUGIN_URI "https://pyrosynth.example/probe"
#define DISTRHO_PLUGIN_CLAP_ID "pyrosynth.probe"
#define DISTRHO_PLUGIN_BRAND_ID Pyro
#define DISTRHO_PLUGIN_UNIQUE_ID Prob
#define DISTRHO_PLUGIN_CLAP_FEATURES "instrument", "synthesizer"
#define DISTRHO_PLUGIN_LV2_CATEGORY "lv2:InstrumentPlugin"
#define DISTRHO_PLUGIN_VST3_CATEGORIES "Instrument|Synth"
#define DISTRHO_PLUGIN_HAS_UI 0
#define DISTRHO_PLUGIN_IS_RT_SAFE 1
#define DISTRHO_PLUGIN_IS_SYNTH 1
#ifdef PROBE_EFFECT
#define DISTRHO_PLUGIN_NUM_INPUTS 2
#else
#define DISTRHO_PLUGIN_NUM_INPUTS 0
#endif
#define DISTRHO_PLUGIN_NUM_OUTPUTS 2
#define DISTRHO_PLUGIN_WANT_MIDI_INPUT 1
#define DISTRHO_PLUGIN_WANT_PROGRAMS 1
#if !defined(DISTRHO_PLUGIN_TARGET_DSSI) && !defined(PROBE_PLAIN)  // DPF offers none for DSSI
#define DISTRHO_PLUGIN_WANT_STATE 1
#endif
