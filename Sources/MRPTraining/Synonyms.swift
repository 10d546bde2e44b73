import MRPOptions

extension OptionTable {
    /// What others call our options, each row an option and its other names; then names of things that are not here, with what there is instead.
    static let synonyms: [String: String] = Dictionary(
        names.flatMap { key, others in others.split(separator: " ").map { (String($0), key) } }
            + absent.flatMap { others, advice in others.split(separator: " ").map { (String($0), advice) } },
        uniquingKeysWith: { first, _ in first })

    private static let names = [
        ("learning_rate", "lr eta0 learning_rate_init initial_learning_rate max_lr"), ("base_learning_rate", "base_lr blr"),
        ("min_learning_rate", "min_lr eta_min lr_min final_lr"), ("schedule", "lr_scheduler scheduler lr_schedule sched lr_scheduler_type"),
        ("decay_factor", "gamma lr_gamma decay_rate"), ("milestones", "lr_steps step_size decay_epochs decay_milestones"),
        ("warmup_epochs", "warmup warmup_steps num_warmup_steps warmup_ratio warmup_t"), ("weight_decay", "wd l2 alpha l2_regularization"),
        ("clip_gradient", "clip_grad max_grad_norm gradient_clip_val grad_clip clip_norm clipnorm"),
        ("accumulation_steps", "accum_iter gradient_accumulation_steps accumulate_grad_batches grad_accum_steps update_freq"),
        ("epochs", "num_epochs n_epochs max_epochs max_iter num_train_epochs n_iter nb_epochs max_steps steps"),
        ("batch_size", "bs batch train_batch_size per_device_train_batch_size batch_size_per_gpu"), ("optimizer", "opt solver optim"),
        ("beta1", "betas adam_beta1"), ("beta2", "adam_beta2"), ("drop_path", "drop_path_rate stochastic_depth droppath"),
        ("ema_decay", "ema model_ema model_ema_decay"), ("layer_decay", "layer_decay_rate llrd layerwise_lr_decay"),
        ("recompute", "use_checkpoint gradient_checkpointing grad_checkpointing"),
        ("frozen_encoder", "freeze freeze_encoder freeze_backbone linear_probe trainable"),
        ("threads", "n_jobs num_threads n_threads nthreads nproc"), ("loader_threads", "num_workers workers dataloader_num_workers"),
        ("seed", "manual_seed random_seed rng"), ("instructions", "isa simd"),
        ("encoder", "model arch architecture backbone net network model_name hidden_layer_sizes"),
        ("image_size", "img_size input_size size resolution crop_size"), ("channels", "in_chans in_channels num_channels n_channels"),
        ("width", "embed_dim hidden_size hidden_dim dim d_model base_width"), ("depth", "num_layers num_hidden_layers n_layers layers"),
        ("heads", "num_heads n_heads num_attention_heads nhead"), ("mlp_ratio", "mlp_dim intermediate_size ffn_dim dim_feedforward"),
        ("layer_norm_eps", "norm_eps eps layer_norm_epsilon"), ("pooling", "global_pool pool"),
        ("decoder_width", "decoder_embed_dim decoder_dim decoder_hidden_size"),
        ("decoder_depth", "decoder_num_hidden_layers decoder_layers"),
        ("decoder_heads", "decoder_num_heads decoder_num_attention_heads"), ("classes", "num_classes n_classes nb_classes num_labels"),
        ("mask_ratio", "masking_ratio mask_prob mask_probability mask_rate"), ("mask_pattern", "masking mask_type mask"),
        ("norm_pix_loss", "norm_pix norm_pix_target normalize_target"), ("objective", "method pretext_task ssl_method"),
        ("teacher_decay", "momentum_teacher teacher_momentum ema_momentum"), ("label_smoothing", "smoothing label_smoothing_factor"),
        ("loss", "loss_fn criterion loss_function"), ("augmentation", "aug augment augmentations transform transforms data_augmentation"),
        ("rand_augment", "aa auto_augment randaug randaugment"), ("color_jitter", "jitter colour_jitter"), ("hue_jitter", "hue"),
        ("random_erasing", "reprob random_erase erasing random_erasing_prob cutout"), ("mixup", "mixup_alpha"), ("cutmix", "cutmix_alpha"),
        ("mix_probability", "mixup_prob"), ("mix_switch_probability", "mixup_switch_prob switch_prob"),
        ("mean", "image_mean pixel_mean"), ("std", "image_std pixel_std"), ("crop_scale_min", "crop_scale scale"),
        ("early_stopping", "patience n_iter_no_change"), ("validate_epochs", "eval_every val_interval validation_interval eval_steps"),
        ("restore_best", "save_best restore_best_weights load_best_model_at_end"),
        ("checkpoint_steps", "save_steps save_every checkpoint_interval save_freq"), ("keep_checkpoints", "save_total_limit max_to_keep"),
        ("continue_run", "resume resume_from_checkpoint auto_resume"),
        ("run_folder", "output_dir log_dir checkpoint_dir save_dir work_dir logdir default_root_dir"), ("time_budget", "max_time timeout"),
        ("memory_limit", "max_memory"), ("knn_k", "k n_neighbors nb_knn"), ("knn_temperature", "temperature temp"),
        ("weights_type", "weights_dtype save_dtype"), ("unreadable_images", "on_error skip_unreadable"),
    ]

    private static let absent = [
        (
            "class_weight class_weights pos_weight sample_weight",
            "images have no weights but those of their classes by loss=balanced; balanced_top1 measures each class alike"
        ),
        ("dropout drop_rate drop attn_drop proj_drop hidden_dropout_prob", "there is no dropout, drop_path leaves out whole branches"),
        ("verbose disp log_level", "a run is watched by its callback (Python: progress=True) and its log"),
        ("validation_split test_size validation_fraction val_split", "nothing is split off, held-out images are given as such"),
        ("warm_start init_from", "a model that was loaded or trained before goes on by training it"),
        ("fp16 bf16 amp precision use_amp half dtype", "everything is computed in float32"),
        ("pretrained weights checkpoint ckpt", "weights are read by loading a model"), ("shuffle", "see sampler"),
    ]
}
