"""Language models: one Protocol (`assistant.schemas.LanguageModel`), several engines, and where weights come from."""
