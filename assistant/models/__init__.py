"""Language models: one Protocol (`assistant.types.LanguageModel`), several engines, and where weights come from."""
